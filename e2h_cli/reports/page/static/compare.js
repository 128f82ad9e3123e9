// Two solutions of one problem side by side: of two generators, two reward models, or two votes.

/** The number of the solution that stands for a source: the best one of its main choice. */
function mainSample(problem, source, method) {
  const choice = method ? choiceOf(problem, method) : mainChoice(problem);
  if (choice && choice.sample >= 0) return choice.sample;
  const place = problem.solved.g.indexOf(choice?.answer ?? -1);
  return problem.solved.s[Math.max(0, place)];
}

const comparisonFragment = (problem, a, b) => {
  const theirs = b.problems[b.index.get(problem.id)];
  // Two reward models judge the same solution.
  const sameSet = a.set === b.set;
  const left = mainSample(problem, a);
  const right = sameSet ? left : mainSample(theirs, b);
  return fragment(["compare", problem.id, `${a.id}:${left}`, `${b.id}:${right}`]);
};

/** Of one source: what the majority chooses beside what the weights choose. */
function defaultComparison(source, problem) {
  const left = mainSample(problem, source, "majority");
  return fragment(["compare", problem.id, `${source.id}:${left}`, `${source.id}:${mainSample(problem, source)}`]);
}

function sideOf(text) {
  const at = text.lastIndexOf(":");
  return { source: sourceOf(text.slice(0, at)), sample: text.slice(at + 1) };
}

async function comparePage(id, left, right) {
  if (!id) return compareStart();
  const sides = [sideOf(left ?? ""), sideOf(right ?? "")];
  if (sides.some((side) => !side.source)) return notFound(`comparison of ${left} and ${right}`);
  for (const side of sides) {
    await load(side.source);
    side.problem = side.source.problems[side.source.index.get(id)];
  }
  if (sides.some((side) => !side.problem)) return notFound(`problem ${id} in both sources`);
  const go = (k, change) => {
    const now = sides.map((side) => ({ id: side.source.id, sample: side.sample }));
    Object.assign(now[k], change);
    location.hash = fragment(["compare", id, ...now.map((one) => `${one.id}:${one.sample}`)]);
  };
  const { before, after } = neighbours(sides[0].source, id);
  const to = (other) => {
    const [a, b] = sides.map((side) => side.source);
    const problem = a.problems[a.index.get(other)];
    return b.index.has(other) ? (a === b ? defaultComparison(a, problem) : comparisonFragment(problem, a, b)) : null;
  };
  return [
    h("h1", {}, `Comparison on problem ${id}`),
    h("p", { class: "pager" }, link(["problem", sides[0].source.id, id], "The problem", { id: "back" }), " ",
      before && to(before) ? h("a", { href: to(before), id: "previous" }, "← previous") : "", " ",
      after && to(after) ? h("a", { href: to(after), id: "next" }, "next →") : ""),
    questionOf(sides[0].problem),
    h("div", { class: "columns compare" }, sides.map((side, k) => comparedSide(side, k, go))),
  ];
}

function comparedSide({ source, sample, problem }, k, go) {
  const solutions = solutionsOf(problem, source);
  const solution = solutions.find((one) => String(one.sample) === sample) ?? solutions[0];
  const others = [source, ...comparable(source)];
  const shortcuts = problem.choices.map((choice) => {
    const to = mainSample(problem, source, choice.name);
    return h("button", { type: "button", class: "small", onclick: () => go(k, { sample: to }) }, methodLabel(choice));
  });
  const name = k ? "Right" : "Left";
  return h("section", { "aria-label": `${name} side` }, h("h2", { class: "hidden" }, `${name} side`),
    h("div", { class: "controls" },
      select(`${name} side`, others.map((one) => [one.id, one.label]), source.id, (value) => go(k, { id: value })),
      select("Solution", solutions.map((one) => [one.sample, `${one.sample}: ${one.answer ?? "no answer"}${one.right ? " ✓" : ""}`]), solution.sample, (value) => go(k, { sample: value }))),
    h("p", {}, "Solution chosen by ", shortcuts),
    solutionCard(solution, problem, source),
    choicesOf(problem));
}

/** Where no comparison is named: two sources, and the problems on which they differ. */
function compareStart() {
  if (!sources.length) return [h("h1", {}, "Compare"), h("p", {}, "No stage has sampled solutions of test problems.")];
  const state = { a: bestSource().id, b: null };
  const box = h("div", { class: "controls" });
  const draw = () => {
    const a = sourceOf(state.a);
    const others = comparable(a);
    if (!others.some((one) => one.id === state.b)) state.b = others[0]?.id ?? null;
    const list = fragment(["problems", state.a], { with: state.b ?? "", than: "better" });
    box.replaceChildren(
      select("Solutions of", sources.map((one) => [one.id, one.label]), state.a, (value) => { state.a = value; draw(); }),
      ...(others.length ? [
        select("Compare with", others.map((one) => [one.id, one.label]), state.b, (value) => { state.b = value; draw(); }),
        h("a", { class: "button", id: "differences", href: list }, "Problems that the second solves and the first does not")]
        : [h("p", {}, "No other solutions of the same problems: compare two solutions of one problem from its page.")]));
  };
  draw();
  const cases = run.views.filter((one) => one.studies.length).map((one) => h("li", {}, link(["results", one.name], `${one.name}: ${one.title}`)));
  return [
    h("h1", {}, "Compare"),
    h("p", {}, "Two generators, or two reward models that have scored the same solutions."), box,
    ...(cases.length ? [h("h2", {}, "Comparisons of the paper's kind"), h("ul", {}, cases)] : []),
  ];
}
