// Tables, claims and figures of views, and the tables that stages have written by themselves.

function resultsPage(name) {
  const view = run.views.find((one) => one.name === name);
  const own = run.results.find((one) => one.name === name);
  if (name && !view && !own) return notFound(`table or figure ${name}`);
  if (view) return viewPage(view);
  if (own) return [h("h1", {}, `Tables of ${name}`),
    h("p", {}, link(["stage", name], "settings and lineage")), ...own.tables.map(shownTable),
    ...own.notes.map((note) => h("p", {}, note))];
  const verdicts = run.views.flatMap((one) => one.verdicts);
  return [
    h("h1", {}, "Results"),
    verdicts.length ? h("p", {}, "Claims of the paper on this run: ", counted(verdicts)) : null,
    run.views.length ? table(["name", "what", "claims"], run.views.map((view) =>
      [link(["results", view.name], view.name), view.title, counted(view.verdicts)]), "Tables and figures") : null,
    run.results.length ? table(["stage", "command"], run.results.map((one) =>
      [link(["results", one.name], one.name), one.command]), "Tables that stages wrote") : null,
    run.views.length + run.results.length ? null : h("p", {}, "No eval or rerank stage is finished."),
  ].filter(Boolean);
}

const VERDICTS = { holds: "good", reversed: "bad", "not shown": "open", "not measured": "open" };
const badge = (verdict) => h("span", { class: `badge ${VERDICTS[verdict] ?? "open"}` }, verdict);

/** How many claims there are of each verdict, in the order of ``VERDICTS``. */
function counted(verdicts) {
  const counts = d3.rollup(verdicts, (all) => all.length, (one) => one);
  return h("span", { class: "legend" }, Object.keys(VERDICTS).filter((one) => counts.has(one))
    .map((one) => h("span", {}, badge(one), String(counts.get(one)))));
}

function shownTable({ title, header, rows }, last) {
  let group = null;
  const shown = rows.map((row) => {
    const first = row[0] === group ? "" : row[0];
    group = row[0];
    const cells = [first, ...row.slice(1)];
    if (last && VERDICTS[row.at(-1).split(" (")[0]]) cells[cells.length - 1] = badge(row.at(-1));
    return cells;
  });
  return table(header, shown, title);
}

function viewPage(view) {
  return [
    h("h1", {}, `${view.name}: ${view.title}`),
    h("p", {}, "Made from ", view.stages.flatMap((one, i) => [i ? ", " : "", link(["stage", one], one)]),
      view.stages.some((one) => metricStages.has(one))
        ? ["; ", link(["explore", view.stages.find((one) => metricStages.has(one))], "choose other groups and methods")] : ""),
    view.figure ? figureOf(view) : null,
    ...view.studies.map(studyOf),
    ...view.tables.map((one, i) => shownTable(one, view.verdicts.length > 0 && i === view.tables.length - 1)),
    ...view.notes.map((note) => h("p", { class: "muted" }, note)),
  ].filter(Boolean);
}

function figureOf(view) {
  const { figure: given } = view;
  const note = h("p", { class: "muted" }, given.note);
  if (given.kind === "curves") return h("section", {}, curves(view.name, given), note);
  if (given.kind === "bars") return h("section", {}, bars(view.name, given), note);
  const looks = looksOf(given.panels.flatMap((panel) => panel.lines.map((line) => line.name)));
  const made = given.panels.map((panel) => (panel.lines.length
    ? figure(`${view.name}, ${panel.title}`, rocChart(panel.lines, looks, panel.title),
      () => table(["curve", "AUC"], panel.lines.map((line) => [line.name, short(line.auc)]), ""))
    : h("figure", {}, h("figcaption", {}, `${view.name}, ${panel.title}`), h("p", { class: "muted" }, "No curve: not measured in this run."))));
  return h("section", {}, h("p", { class: "legend" }, [...looks].map(([name, look]) => h("span", {}, swatch(look), name))),
    h("div", { class: "panels" }, made), note);
}

/** Panels of curves; which lines, panels and values of N are shown can be chosen. */
function curves(name, given) {
  const lines = given.rows.flatMap((row) => row.panels.flatMap((panel) => panel.lines));
  const looks = looksOf(lines.map((line) => line.name));
  const columns = [...new Set(given.rows.flatMap((row) => row.panels.map((panel) => panel.title)))];
  const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const state = { lines: new Set(looks.keys()), rows: "", column: "", most: xs.at(-1) };
  const box = h("div", { class: "panels" });
  const draw = () => {
    const cut = (line) => {
      const keep = line.x.filter((x) => x <= state.most).length;
      const [x, y, low, high] = [line.x, line.y, line.low, line.high].map((all) => all.slice(0, keep));
      return { ...line, x, y, low, high };
    };
    const made = given.rows.filter((row) => !state.rows || row.title === state.rows).flatMap((row) =>
      row.panels.filter((panel) => panel.lines.length && (!state.column || panel.title === state.column)).map((panel) => {
        const title = [row.title, panel.title].filter(Boolean).join(", ");
        const shown = panel.lines.filter((line) => state.lines.has(line.name)).map(cut);
        const settings = { x: given.x, y: given.y, log2: given.log2, label: `${name}, ${title}: ${given.y} against ${given.x}` };
        return figure(title, lineChart(shown, looks, settings), () => pointsTable(shown, given.x));
      }));
    box.replaceChildren(...made);
  };
  draw();
  const change = (key) => (value) => { state[key] = value; draw(); };
  const titles = given.rows.map((row) => row.title).filter(Boolean);
  const controls = h("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
    h("fieldset", {}, h("legend", {}, "Lines"), [...looks].map(([line, look]) =>
      checkbox(line, true, (on) => { state.lines[on ? "add" : "delete"](line); draw(); }, swatch(look)))),
    titles.length > 1 ? select("Row", [["", "all"], ...titles.map((one) => [one, one])], "", change("rows")) : null,
    columns.length > 1 ? select("Group", [["", "all panels"], ...columns.map((one) => [one, one])], "", change("column")) : null,
    xs.length > 2 ? select("Up to", xs.map((x) => [x, `${given.log2 ? "N = " : ""}${x}`]), xs.at(-1), (value) => change("most")(Number(value))) : null,
    given.paper ? h("p", { class: "muted" }, `dashed: ${given.paper}`) : null);
  return h("div", {}, controls, box);
}

function pointsTable(lines, x) {
  const rows = lines.flatMap((line) => [
    ...line.x.map((one, i) => [line.name, String(one), short(line.y[i], 4), range(line, i), ""]),
    ...(line.paper_x ?? []).map((one, i) => [line.name, String(one), short(line.paper_y[i], 4), "", "paper"]),
  ]);
  return table(["line", x, "value", "interval", ""], rows, "");
}

const range = (line, i) => (line.low?.[i] == null ? "" : `${short(line.low[i])} to ${short(line.high[i])}`);

function bars(name, given) {
  const rows = given.groups.flatMap((group) => group.bars.map(([bar, value, low, high]) =>
    ({ name: bar, label: `${group.name}: ${bar}`, value, low, high })));
  const looks = looksOf(rows.map((row) => row.name));
  const chart = intervalChart(rows, looks, { x: given.y, label: `${name}: ${given.y}`, width: 760 });
  return figure(given.y, chart, () => table(["", "value", "interval"], rows.map((row) => [row.label, short(row.value, 4), row.low == null ? "" : `${short(row.low)} to ${short(row.high)}`]), ""));
}

function studyOf(study) {
  const cases = study.cases.map((one) => {
    const [left, right] = one.sides;
    const place = comparisonOf(one, study.sources);
    return h("li", {}, place ? h("a", { href: place }, one.id) : one.id, ": ",
      ...[left, right].flatMap((side, i) => [i ? "; " : "", `${side.name} says `, answerText(side.answer), " ", verdict(side.right),
        side.votes ? ` with ${side.votes.votes} vote${side.votes.votes === 1 ? "" : "s"} and a sum of weights of ${short(side.votes.total)}` : ""]));
  });
  return h("section", {}, h("h2", {}, study.title), h("p", {}, study.rule), h("p", {}, study.outcomes), h("ul", {}, cases),
    study.style ? table(study.style[0], study.style.slice(1), "Style of all solutions") : null);
}

/** The fragment of a comparison of both solutions of a case. */
function comparisonOf(one, stages) {
  const [a, b] = stages.length > 1 ? stages : [stages[0], stages[0]];
  if (!sourceOf(a) || !sourceOf(b)) return null;
  return fragment(["compare", one.id, `${a}:${one.sides[0].sample}`, `${b}:${one.sides[1].sample}`]);
}
