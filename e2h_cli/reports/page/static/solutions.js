// One problem of a source: the question, its answers with votes, and its solutions.

const METHOD_LABELS = { majority: "majority voting", "weighted-voting": "weighted voting", "best-of-n": "best-of-n" };
const methodLabel = (choice) =>
  `${METHOD_LABELS[choice.name] ?? choice.name}${choice.aggregate ? ` (${choice.aggregate})` : ""}`;

/** A problem with what every view of it shows: question, gold answer, level and subject. */
function questionOf(problem) {
  return h("section", { class: "question" },
    h("dl", { class: "facts" },
      h("dt", {}, "gold answer"), h("dd", {}, answerText(problem.gold)),
      h("dt", {}, "level"), h("dd", {}, String(problem.level)),
      h("dt", {}, "subject"), h("dd", {}, problem.subject)),
    prose("p", problem.q, { class: "text" }),
    problem.solution ? h("details", {}, h("summary", {}, "Reference solution"), prose("p", problem.solution, { class: "text" })) : null);
}

/** What each method chooses, in words. */
function choicesOf(problem) {
  const rows = problem.choices.map((choice) => [
    methodLabel(choice),
    choice.answer < 0 ? h("em", {}, "no answer") : answerText(problem.answers[choice.answer].text),
    choice.answer < 0 ? "" : verdict(choice.right),
  ]);
  return table(["method", "chooses", ""], rows, `Choices among ${problem.n} solutions, of which ${problem.right} are right`);
}

/** Answers with votes and sums of weights; a click shows only solutions with one of them. */
function answersOf(problem, shown, onchoose) {
  const scored = problem.choices.filter((choice) => choice.sums);
  const header = ["answer", "", "votes", "", ...scored.map((choice) =>
    choice.name === "best-of-n" ? `highest score (${choice.aggregate})` : `sum of weights (${choice.aggregate})`), "chosen by", ""];
  const rows = problem.answers.map((answer) => {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * answer.votes) / problem.n}px`;
    const by = problem.choices.filter((choice) => choice.answer === answer.i).map(methodLabel).join(", ");
    return [answerText(answer.text), answer.text === null ? "" : verdict(answer.right), String(answer.votes), bar,
      ...scored.map((choice) => short(choice.sums[answer.i])), by,
      h("button", { type: "button", class: "small", "aria-pressed": String(shown === answer.i), "aria-label": `Show only solutions with ${answer.text ?? "no answer"}`, onclick: () => onchoose(shown === answer.i ? null : answer.i) },
        shown === answer.i ? "Show all" : "Show")];
  });
  const [others, votes] = problem.solved.other;
  const more = others > 0 ? h("p", { class: "muted" }, `${others} further answers with ${votes} votes together.`) : null;
  return h("div", {}, table(header, rows, "Answers"), more);
}

function stepsOf(solution) {
  const low = firstLow(solution.scores);
  const shares = solution.scores && areShares(solution.scores);
  return h("ol", { class: "steps" }, solution.steps.map((step, i) => {
    const score = solution.scores?.[i];
    const marks = [];
    if (i === solution.wrong) marks.push("first wrong step, by the oracle");
    if (i === low) marks.push("first step below 0.5");
    const item = h("li", { class: `${score === undefined ? "" : "scored"} ${i === solution.wrong ? "first-wrong" : ""}` },
      score === undefined ? null : h("span", { class: "score", "aria-label": `score ${score}` }, short(score, 2)),
      prose("div", step, { class: "text" }), marks.length ? h("span", { class: "mark" }, marks.join("; ")) : null);
    if (shares && score !== undefined) item.style.setProperty("--score", `${100 * score}%`);
    return item;
  }));
}

/** A solution with its steps; `extra`: more words in its heading. */
function solutionCard(solution, problem, source, { extra = "", chosen = false, place = null } = {}) {
  const scored = problem.choices.filter((choice) => choice.sums);
  const facts = [
    solution.outcome === null ? null : ["outcome score", short(solution.outcome)],
    ...scored.map((choice) => [choice.aggregate, short(solution.weights[choice.place])]),
    solution.logprob === null ? null : ["log-probability", short(solution.logprob)],
    solution.tokens === null ? null : ["tokens", String(solution.tokens)],
    ["finish", solution.end ?? "–"],
  ].filter(Boolean);
  const number = `Solution ${solution.sample}`;
  const sound = solution.wrong === null ? null : solution.wrong < 0 ? "no wrong step (oracle)" : `step ${solution.wrong + 1} is the first wrong one (oracle)`;
  return h("article", { class: `solution ${chosen ? "chosen" : ""}`, id: `solution-${solution.sample}`, tabindex: "-1", "aria-label": number },
    h("header", {}, h("h3", {}, place ? h("a", { href: place }, number) : number), " ",
      answerText(solution.answer), " ", solution.answer === null ? "" : verdict(solution.right), extra ? h("span", { class: "badge open" }, extra) : ""),
    h("p", { class: "muted" }, facts.map(([name, value]) => `${name} ${value}`).join(" · "), sound ? ` · ${sound}` : ""),
    stepsOf(solution),
    solution.rest ? prose("pre", solution.rest, { class: "rest" }) : null);
}

const SORTS = {
  number: ["number", (one) => one.sample],
  outcome: ["outcome score", (one) => -(one.outcome ?? 0)],
  right: ["right ones first", (one) => -one.right],
  wrong: ["wrong ones first", (one) => Number(one.right)],
  logprob: ["log-probability", (one) => -(one.logprob ?? 0)],
};

function sortsOf(problem, solutions) {
  const found = ["number", "right", "wrong"];
  if (solutions.some((one) => one.outcome !== null)) found.push("outcome");
  if (solutions.some((one) => one.logprob !== null)) found.push("logprob");
  const made = new Map(found.map((key) => [key, SORTS[key]]));
  for (const choice of problem.choices.filter((one) => one.sums)) {
    made.set(choice.name, [`score of ${methodLabel(choice)}`, (one) => -(one.weights[choice.place] ?? 0)]);
  }
  return made;
}

const view = { sort: "number", solution: null };

/** A problem of a source. `sample`: the solution that the fragment names. */
async function problemPage(id, key, sample) {
  const source = sourceOf(id);
  if (!source) return notFound(`solutions ${id}`);
  await load(source);
  const at = source.index.get(key);
  if (at === undefined) return notFound(`problem ${key}`);
  const problem = source.problems[at];
  const solutions = solutionsOf(problem, source);
  const box = h("div", {});
  let answer = null;
  const sorts = sortsOf(problem, solutions);
  if (!sorts.has(view.sort)) view.sort = "number";
  const draw = () => {
    const some = d3.sort(solutions.filter((one) => answer === null || one.group === answer), sorts.get(view.sort)[1]);
    const first = Math.max(0, some.findIndex((one) => String(one.sample) === sample));
    view.solutions = some.map((one) => one.sample);
    box.replaceChildren(answersOf(problem, answer, (value) => { answer = value; draw(); }), solutionList(some, problem, source, first, sample, draw));
  };
  draw();
  const { before, after } = neighbours(source, key);
  return [
    h("h1", {}, `Problem ${key}`),
    h("p", { class: "pager" }, link(["problems", id], "Back to the list", { id: "back" }), " ",
      before ? link(["problem", id, before], "← previous", { id: "previous" }) : "", " ",
      after ? link(["problem", id, after], "next →", { id: "next" }) : ""),
    h("div", { class: "controls" },
      select("Solutions of", sources.map((one) => [one.id, one.label]), id, (value) => { location.hash = fragment(["problem", value, key]); }),
      checkbox("typeset mathematics", options.typeset, (on) => { options.typeset = on; route(); }),
      sources.length > 1 || problem.n > 1 ? h("a", { class: "button", href: defaultComparison(source, problem) }, "Compare side by side") : null),
    questionOf(problem), choicesOf(problem), box,
  ];
}

function solutionList(some, problem, source, first, sample, draw) {
  const sorts = sortsOf(problem, some);
  const oracle = source.set.oracle ? "The first wrong step is known from an oracle of this data."
    : "No oracle of single steps: the mark is at the first score below 0.5.";
  const chosenBy = (one) => problem.choices.filter((choice) => choice.sample === one.sample).map((choice) => `best of ${methodLabel(choice)}`).join(", ");
  return h("section", {},
    h("h2", {}, `${some.length} solutions`),
    h("p", { class: "muted" }, source.set.rule, " ", source.votes ? oracle : source.set.oracle ? oracle : ""),
    h("div", { class: "controls" }, select("Order by", [...sorts].map(([key, [name]]) => [key, name]), view.sort, (value) => { view.sort = value; draw(); })),
    paged(some, 16, (part) => part.map((one) => solutionCard(one, problem, source, {
      extra: chosenBy(one), chosen: String(one.sample) === sample, place: fragment(["problem", source.id, problem.id, one.sample]),
    })), first));
}
