// The stages of the run as a graph, and one stage with settings, inputs and lineage.

const byName = new Map(run.stages.map((stage) => [stage.name, stage]));

/** Stages behind a stage, or made from it. */
function closure(name, next) {
  const found = new Set();
  const queue = [name];
  while (queue.length) {
    const one = queue.pop();
    if (found.has(one)) continue;
    found.add(one);
    queue.push(...next(one));
  }
  return found;
}

const madeFrom = (name) => (byName.get(name)?.inputs ?? []).map((one) => one.stage).filter(Boolean);
const behind = (name) => closure(name, madeFrom);

/** Lines of the graph, without those that lead where another input has led already. */
function edgesOf(stages) {
  const shown = new Set(stages.map((stage) => stage.name));
  const before = new Map(stages.map((stage) => [stage.name, behind(stage.name)]));
  return stages.flatMap((stage) => {
    const inputs = [...new Set(madeFrom(stage.name))].filter((one) => shown.has(one));
    const direct = inputs.filter((one) => !inputs.some((other) => other !== one && before.get(other).has(one)));
    return direct.map((one) => [one, stage.name]);
  });
}

/** Places of the stages by dagre, from left to right. */
function placed(stages) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 14, ranksep: 46, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const stage of stages) {
    const width = Math.max(120, 24 + 8.4 * stage.name.length);
    graph.setNode(stage.name, { width, height: 44 });
  }
  for (const [from, to] of edgesOf(stages)) graph.setEdge(from, to);
  dagre.layout(graph);
  return graph;
}

function nodeOf(stage, { x, y, width, height }, chosen, dim) {
  const node = d3.create("svg:a")
    .attr("href", fragment(["stage", stage.name]))
    .attr("class", `node ${stage.status} ${stage.name === chosen ? "chosen" : ""} ${dim ? "dim" : ""}`)
    .attr("transform", `translate(${x - width / 2},${y - height / 2})`)
    .attr("aria-label", `${stage.name}, ${stage.command}, ${stage.status}, ${duration(stage.seconds)}`);
  if (stage.name === chosen) node.attr("aria-current", "true");
  node.append("rect").attr("width", width).attr("height", height).attr("rx", 6);
  node.append("text").attr("x", 10).attr("y", 18).attr("class", "name").text(stage.name);
  const about = `${stage.command} · ${stage.status === "finished" ? duration(stage.seconds) : stage.status}`;
  node.append("text").attr("x", 10).attr("y", 35).attr("class", "about").text(about);
  return node.node();
}

function graphOf(stages, chosen) {
  const layout = placed(stages);
  const near = chosen ? new Set([...behind(chosen), ...closure(chosen, (name) =>
    stages.filter((stage) => madeFrom(stage.name).includes(name)).map((stage) => stage.name))]) : null;
  const dim = (name) => near !== null && !near.has(name);
  const svg = d3.create("svg").attr("class", "stages")
    .attr("aria-label", "Graph of the stages; the table below lists the same");
  svg.append("defs").append("marker").attr("id", "arrow").attr("viewBox", "0 0 8 8").attr("refX", 7)
    .attr("refY", 4).attr("markerWidth", 7).attr("markerHeight", 7).attr("orient", "auto")
    .append("path").attr("d", "M0,0L8,4L0,8z").attr("class", "arrow");
  const scene = svg.append("g");
  const line = d3.line((point) => point.x, (point) => point.y).curve(d3.curveBasis);
  for (const { v, w } of layout.edges()) {
    scene.append("path").attr("class", `edge ${dim(v) || dim(w) ? "dim" : ""}`)
      .attr("d", line(layout.edge(v, w).points)).attr("marker-end", "url(#arrow)");
  }
  for (const stage of stages) {
    scene.append(() => nodeOf(stage, layout.node(stage.name), chosen, dim(stage.name)));
  }
  const first = d3.least(layout.nodes().map((name) => layout.node(name)), (node) => node.x);
  return zoomable(svg, scene, layout.graph(), chosen ? layout.node(chosen) : null, first);
}

/** The graph in a box with buttons; the wheel zooms with Ctrl only, so that the page can scroll. */
function zoomable(svg, scene, { width, height }, chosen, first) {
  const wide = Math.min(1000, document.getElementById("main").clientWidth - 24);
  // A graph that would be too small to read as a whole begins at its first stages.
  const across = Math.min(1, Math.max(0.6, (wide - 10) / width));
  const visible = Math.min(chosen ? 560 : 760, Math.max(150, across * height + 20));
  svg.attr("viewBox", `0 0 ${wide} ${visible}`).attr("height", visible);
  const zoom = d3.zoom().scaleExtent([0.1, 2.5])
    .filter((event) => event.type !== "wheel" || event.ctrlKey)
    .on("zoom", (event) => scene.attr("transform", event.transform));
  svg.call(zoom).on("dblclick.zoom", null);
  const fit = Math.min(1, (wide - 10) / width, (visible - 10) / height);
  const all = d3.zoomIdentity.translate((wide - fit * width) / 2, (visible - fit * height) / 2).scale(fit);
  const [x, y] = chosen ? [wide / 2 - across * chosen.x, visible / 2 - across * chosen.y]
    : [5, visible / 2 - across * (first?.y ?? 0)];
  const start = fit >= 0.6 ? all : d3.zoomIdentity.translate(x, Math.min(0, Math.max(visible - across * height, y))).scale(across);
  svg.call(zoom.transform, start);
  const button = (text, label, change) =>
    h("button", { type: "button", class: "small", "aria-label": label, onclick: change }, text);
  return h("div", { class: "graph" }, h("p", { class: "graph-tools" },
    button("+", "Larger", () => svg.call(zoom.scaleBy, 1.4)),
    button("−", "Smaller", () => svg.call(zoom.scaleBy, 1 / 1.4)),
    button("All", "Show all stages", () => svg.call(zoom.transform, all)),
    h("span", { class: "muted" }, "drag to move, Ctrl and wheel to zoom")), svg.node());
}

/** A time of a record, as 2026-11-30 22:42:44 UTC. */
const moment = (text) => (text ?? "").replace("T", " ").replace(/Z$/, " UTC");

function stageRows(stages) {
  return stages.map((stage) => [
    link(["stage", stage.name], stage.name), stage.command, stage.status,
    stage.status === "finished" ? duration(stage.seconds) : "–", moment(stage.started), stage.recipe ?? "",
  ]);
}

function overview() {
  const seconds = d3.sum(run.stages, (stage) => stage.seconds);
  const done = run.stages.filter((stage) => stage.status === "finished").length;
  const facts = [
    ["experiment", run.experiment ?? "–"], ["scale", run.scale_in_words || "–"],
    ["seed", String(run.seed ?? "–")], ["stages", `${done} of ${run.stages.length} finished`],
    ["time", duration(seconds)], ["made with", `e2h ${run.e2h}`],
  ];
  const notice = document.getElementById("notice").content.textContent;
  return [
    h("h1", {}, `Run ${run.name}`),
    h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ...run.trainings.filter((one) => one.warning).map((one) => h("p", { class: "warning" },
      link(["training", one.stage], one.stage), `: ${one.warning}`)),
    ...run.notes.map((note) => h("p", { class: "note" }, note)),
    h("h2", {}, "Stages"),
    graphOf(run.stages, null),
    table(["stage", "command", "status", "time", "started", "recipe"], stageRows(d3.sort(run.stages, (stage) => stage.started ?? "~")), "All stages"),
    h("details", { class: "licences" }, h("summary", {}, "Libraries in this page and their licences"), h("pre", {}, notice)),
  ];
}

function stagePage(name) {
  const stage = byName.get(name);
  if (!stage) return notFound(`stage ${name}`);
  const shown = run.stages.length > 40 ? run.stages.filter((one) => behind(name).has(one.name)) : run.stages;
  const related = [
    sourceOf(name) ? link(["problems", name], "solutions") : null,
    run.trainings.some((one) => one.stage === name) ? link(["training", name], "training") : null,
    ...run.views.filter((view) => view.stages.includes(name)).map((view) => link(["results", view.name], view.name)),
    run.results.some((one) => one.name === name) ? link(["results", name], "tables") : null,
  ].filter(Boolean);
  const made = h("div", {}, h("h1", {}, `Stage ${name}`),
    h("p", {}, h("span", { class: `status ${stage.status}` }, stage.status),
      ` e2h ${stage.command}, ${duration(stage.seconds)}`, stage.started ? `, started ${moment(stage.started)}` : "",
      related.length ? ["; see ", ...related.flatMap((one, i) => (i ? [", ", one] : [one]))] : ""),
    stage.error ? h("p", { class: "warning" }, stage.error) : null,
    graphOf(shown, name),
    shown.length < run.stages.length ? h("p", { class: "muted" }, `The graph shows this stage and the ${shown.length - 1} behind it.`) : null,
    h("div", { class: "columns" }, inputsOf(stage), lineageOf(stage)),
    h("div", { class: "columns" }, settingsOf(stage), recordOf(stage)));
  return [made];
}

function inputsOf(stage) {
  const rows = stage.inputs.map((input) => [
    input.name,
    h("span", {}, input.stage ? link(["stage", input.stage], input.path) : input.path,
      input.changed ? h("span", { class: "wrong" }, " (made anew since)") : ""),
  ]);
  const readBy = run.stages.filter((one) => madeFrom(one.name).includes(stage.name));
  return h("section", {}, h("h2", {}, "Reads"),
    rows.length ? table(["input", "from"], rows, "") : h("p", {}, "Nothing of this run."),
    readBy.length ? h("p", {}, "Read by ", readBy.flatMap((one, i) => [i ? ", " : "", link(["stage", one.name], one.name)])) : null);
}

const KINDS = {
  questions: "questions", labels: "labels and reference solutions", answers: "gold answers",
  choice: "gold answers that chose a checkpoint", documents: "documents of pre-training",
};
const READS = {
  train: "Hard gold answers or labels were trained on.",
  choice: "Hard gold answers chose a checkpoint.",
  unknown: "Whether hard gold answers were used is not known.",
  no: "No hard gold answer or label was used.",
};

function lineageOf(stage) {
  const { seen, bases, unknown, reads_hard: reads } = stage.lineage;
  const rows = Object.entries(seen).map(([kind, levels]) => [KINDS[kind] ?? kind, levels.join(", ")]);
  return h("section", {}, h("h2", {}, "Lineage"),
    h("p", {}, READS[reads]),
    rows.length ? table(["seen by this stage and those behind it", "levels"], rows, "") : null,
    bases.length ? h("p", {}, `Started from ${bases.join(", ")}, whose training is not recorded.`) : null,
    unknown.length ? h("p", {}, `Of unknown origin: ${unknown.join(", ")}.`) : null);
}

const shownValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function pairs(title, values) {
  const rows = Object.entries(values ?? {}).map(([key, value]) => [key, shownValue(value)]);
  return rows.length ? [h("h3", {}, title), table(["name", "value"], rows, "", { class: "pairs" })] : [];
}

function settingsOf(stage) {
  const changed = stage.overrides?.length ? h("p", {}, `Changed on the command line: ${stage.overrides.join(", ")}.`) : null;
  return h("section", {}, h("h2", {}, "Settings"), changed, pairs("All settings", stage.settings), pairs("Tags", stage.tags));
}

function recordOf(stage) {
  const files = Object.fromEntries(stage.files.map(([name, size]) => [name, bytes(size)]));
  return h("section", {}, h("h2", {}, "Record"), pairs("Counts", stage.counts), pairs("Files", files),
    pairs("Versions", stage.versions), pairs("Host", stage.host));
}
