// The list of problems of a source, with filters. Its order is that of the arrow keys.

const chosenRight = (name) => (problem) => choiceOf(problem, name)?.right ?? null;
const OUTCOMES = {
  "": ["all problems", () => true],
  "majority-wrong": ["majority wrong, weighted right", (one) => chosenRight("majority")(one) === false && chosenRight("weighted-voting")(one) === true],
  "weighted-wrong": ["majority right, weighted wrong", (one) => chosenRight("majority")(one) === true && chosenRight("weighted-voting")(one) === false],
  fooled: ["reward model fooled: best score is wrong", (one) => chosenRight("best-of-n")(one) === false],
  "fooled-right": ["reward model fooled, and one is right", (one) => chosenRight("best-of-n")(one) === false && one.right > 0],
  unsolved: ["no right solution", (one) => one.right === 0],
  solved: ["only right solutions", (one) => one.right === one.n],
};
const BETWEEN = {
  "": ["all problems", () => true],
  better: ["wrong here, right there", (a, b) => !a && b],
  worse: ["right here, wrong there", (a, b) => a && !b],
  differ: ["other answers", (a, b, one, two) => one !== two],
};

/** The problems that a list shows; `asked`: the query of its fragment. */
function filtered(source, asked, other) {
  const words = (asked.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const keep = (OUTCOMES[asked.get("show") ?? ""] ?? OUTCOMES[""])[1];
  const between = (BETWEEN[asked.get("than") ?? ""] ?? BETWEEN[""])[1];
  return source.problems.filter((problem) => {
    if (asked.get("level") && String(problem.level) !== asked.get("level")) return false;
    if (asked.get("subject") && problem.subject !== asked.get("subject")) return false;
    if (!keep(problem)) return false;
    if (other) {
      const at = other.index.get(problem.id);
      if (at === undefined) return false;
      const [a, b] = [mainChoice(problem), mainChoice(other.problems[at])];
      const text = (choice, one) => one.answers[choice.answer]?.text ?? null;
      if (!between(a.right, b.right, text(a, problem), text(b, other.problems[at]))) return false;
    }
    const searched = `${problem.id} ${problem.q} ${problem.gold} ${problem.answers.map((one) => one.text).join(" ")}`.toLowerCase();
    return words.every((word) => searched.includes(word));
  });
}

/** The list that was looked at last, for the arrow keys. */
const listed = { source: null, asked: new URLSearchParams(), ids: [] };

function neighbours(source, key) {
  const ids = listed.source === source.id && listed.ids.includes(key) ? listed.ids : source.problems.map((one) => one.id);
  const at = ids.indexOf(key);
  return { before: ids[at - 1], after: ids[at + 1] };
}

async function problemsPage(id, asked) {
  if (!sources.length) return [h("h1", {}, "Problems"), h("p", {}, "No stage has sampled solutions of test problems.")];
  const source = sourceOf(id) ?? bestSource();
  await load(source);
  const same = comparable(source);
  const other = same.find((one) => one.id === asked.get("with"));
  if (other) await load(other);
  const box = h("div", {});
  const set = (key) => (value) => {
    asked.set(key, value);
    // Typing does not fill the history of the browser.
    history.replaceState(null, "", fragment(["problems", source.id], Object.fromEntries(asked)));
    if (key === "with") route();
    else draw();
  };
  const draw = () => {
    const some = filtered(source, asked, other);
    Object.assign(listed, { source: source.id, asked: new URLSearchParams(asked), ids: some.map((one) => one.id) });
    announce(`${some.length} of ${source.problems.length} problems`);
    box.replaceChildren(
      h("p", { id: "count" }, `${some.length} of ${source.problems.length} problems`),
      ...(some.length ? [paged(some, 50, (part) => [problemTable(part, source, other)])] : []));
  };
  draw();
  return [h("h1", {}, "Problems"), controlsOf(source, asked, set, same), box];
}

/** The first source with scores by which votes are weighted, else the first. */
const bestSource = () => sources.find((one) => one.votes && one.set.n > 1) ?? sources[0];

function controlsOf(source, asked, set, same) {
  const distinct = (key) => d3.sort([...new Set(source.problems.map((one) => one[key]))]);
  const scored = source.methods.some((method) => method.name !== "majority");
  const outcomes = Object.entries(OUTCOMES).filter(([key]) => scored || ["", "unsolved", "solved"].includes(key));
  const field = (name) => asked.get(name) ?? "";
  return h("form", { class: "controls", role: "search", onsubmit: (event) => event.preventDefault() },
    select("Solutions of", sources.map((one) => [one.id, one.label]), source.id, (value) => { location.hash = fragment(["problems", value], Object.fromEntries(asked)); }),
    h("label", { class: "field" }, h("span", {}, "Search"),
      h("input", { type: "search", id: "search", value: field("q"), placeholder: "id, question, answer", oninput: (event) => set("q")(event.target.value) })),
    select("Show", outcomes.map(([key, [name]]) => [key, name]), field("show"), set("show")),
    select("Level", [["", "all"], ...distinct("level").map((one) => [one, one])], field("level"), set("level")),
    select("Subject", [["", "all"], ...distinct("subject").map((one) => [one, one])], field("subject"), set("subject")),
    same.length ? select("Compare with", [["", "nothing"], ...same.map((one) => [one.id, one.id])], field("with"), set("with")) : null,
    field("with") ? select("Difference", Object.entries(BETWEEN).map(([key, [name]]) => [key, name]), field("than"), set("than")) : null);
}

const sign = (choice) => (choice.answer < 0 ? "–" : h("span", { class: choice.right ? "right" : "wrong", "aria-label": choice.right ? "right" : "wrong" }, choice.right ? "✓" : "✗"));

function problemTable(some, source, other) {
  const methods = source.methods.map((method) => METHOD_LABELS[method.name] ?? method.name);
  const header = ["problem", "level", "subject", "question", "right solutions", ...methods, ...(other ? [other.id, ""] : [])];
  const rows = some.map((problem) => {
    const cells = [link(["problem", source.id, problem.id], problem.id), String(problem.level), problem.subject,
      h("span", { class: "excerpt" }, problem.q), `${problem.right}/${problem.n}`, ...problem.choices.map(sign)];
    if (other) {
      const theirs = other.problems[other.index.get(problem.id)];
      cells.push(sign(mainChoice(theirs)), h("a", { href: comparisonFragment(problem, source, other) }, "compare"));
    }
    return cells;
  });
  return table(header, rows, "");
}
