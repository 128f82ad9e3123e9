// Charts by Observable Plot. Colours are those of the figures of `e2h report`, as CSS variables.

const METHODS = ["Majority voting", "Weighted voting", "Best-of-n"];
const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "hexagon", "star", "wye"];

/** Name -> number of its look; a method has the same in every figure, if one line alone is of it. */
function looksOf(all) {
  const names = [...new Set(all)];
  const fixed = new Map();
  METHODS.forEach((method, look) => {
    const own = names.filter((name) => name.split(", ")[0] === method);
    if (own.length === 1) fixed.set(own[0], look);
  });
  const free = d3.range(100).filter((look) => ![...fixed.values()].includes(look));
  return new Map(names.map((name) => [name, fixed.get(name) ?? free.shift()]));
}

// After eight looks the colours begin again, with other symbols.
const colour = (look) => `var(--c${look % 8})`;
const symbol = (look) => SYMBOLS[(look + 3 * Math.floor(look / 8)) % 8];

function swatch(look) {
  const made = h("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = colour(look);
  return made;
}

/** Draw without Plot's own style element, which the security policy of the page refuses. */
function drawn(settings, label) {
  const svg = Plot.plot({ className: "plot", ...settings });
  for (const style of svg.querySelectorAll("style")) style.remove();
  // To screen readers the chart is one image; a group may have no label of its own.
  for (const group of svg.querySelectorAll("g[aria-label]")) {
    group.dataset.mark = group.getAttribute("aria-label");
    group.removeAttribute("aria-label");
  }
  if (settings.width > 500) svg.classList.add("large");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  return svg;
}

const scaleOf = (looks) => ({
  color: { domain: [...looks.keys()], range: [...looks.values()].map(colour) },
  symbol: { domain: [...looks.keys()], range: [...looks.values()].map(symbol) },
});

function said(point, x) {
  const range = point.low == null ? "" : ` (${short(point.low)} to ${short(point.high)})`;
  return `${point.name}${point.paper ? ", paper" : ""}\n${x} ${short(point.x, 5)}: ${short(point.y, 4)}${range}`;
}

/** Room for the numbers of an axis: those of a small range have many digits. */
function leftOf(values) {
  if (!values.length) return 48;
  const [least, most] = d3.extent(values);
  const format = d3.tickFormat(least, most, 8);
  return Math.max(48, 16 + 7 * Math.max(0, ...d3.ticks(least, most, 8).map((one) => format(one).length)));
}

/** Lines with bands and the paper's own dashed. `lines`: name, x, y, low, high, paper_x, paper_y. */
function lineChart(lines, looks, { x, y, log2 = false, width = 420, height = 280, whole = false, label }) {
  const points = (line, xs, ys, paper) => xs.map((one, i) => ({
    name: line.name, x: one, y: ys[i], paper,
    low: paper ? null : line.low?.[i] ?? null, high: paper ? null : line.high?.[i] ?? null,
  })).filter((point) => point.y !== null);
  const ours = lines.flatMap((line) => points(line, line.x, line.y, false));
  const paper = lines.flatMap((line) => points(line, line.paper_x ?? [], line.paper_y ?? [], true));
  const xs = [...ours, ...paper].map((point) => point.x);
  const most = Math.max(1, ...xs);
  const powers = Array.from({ length: 1 + Math.floor(Math.log2(most)) }, (_, i) => 2 ** i);
  const scale = log2 ? { type: "log", base: 2, ticks: powers, tickFormat: String } : {};
  // One point alone has no range; steps and iterations are whole.
  if (whole) Object.assign(scale, { domain: [0, most], ticks: d3.ticks(0, most, 6).filter(Number.isInteger), tickFormat: String });
  const at = { x: "x", y: "y" };
  const ys = [...ours, ...paper].flatMap((point) => [point.y, point.low, point.high]).filter((one) => one != null);
  const alone = new Set(ys).size === 1 ? { domain: [ys[0] - (Math.abs(ys[0]) || 1), ys[0] + (Math.abs(ys[0]) || 1)] } : {};
  return drawn({
    width, height, marginLeft: leftOf(ys), marginBottom: 40,
    ...scaleOf(looks),
    x: { label: x, labelAnchor: "center", labelArrow: "none", ...scale },
    y: { label: y, labelArrow: "none", grid: true, nice: true, ...alone },
    marks: [
      Plot.areaY(ours.filter((point) => point.low != null), { x: "x", y1: "low", y2: "high", fill: "name", fillOpacity: Math.min(0.15, 0.4 / lines.length) }),
      Plot.lineY(paper, { ...at, z: "name", stroke: "name", strokeDasharray: "5 3", strokeWidth: 1.2 }),
      Plot.lineY(ours, { ...at, z: "name", stroke: "name", strokeWidth: 2 }),
      ours.length <= 200 ? Plot.dot(ours, { ...at, fill: "name", symbol: "name", r: 3.5 }) : null,
      Plot.tip([...ours, ...paper], Plot.pointer({ ...at, title: (point) => said(point, x.split(" ")[0]) })),
    ],
  }, label);
}

/** Points with intervals, one row for each; values of one name have one look. */
function intervalChart(rows, looks, { x, width = 640, label, domain }) {
  const left = Math.min(300, 20 + 6.6 * Math.max(4, ...rows.map((row) => row.label.length)));
  return drawn({
    width, height: 60 + 22 * rows.length, marginLeft: left, marginBottom: 40,
    ...scaleOf(looks),
    x: { label: x, labelAnchor: "center", labelArrow: "none", grid: true, nice: true, domain },
    y: { label: null, domain: rows.map((row) => row.label), tickSize: 0 },
    marks: [
      Plot.ruleY(rows.filter((row) => row.low != null), { y: "label", x1: "low", x2: "high", stroke: "name", strokeWidth: 2 }),
      Plot.dot(rows, { y: "label", x: "value", fill: "name", symbol: "name", r: 5 }),
      Plot.tip(rows, Plot.pointerY({ y: "label", x: "value", title: (row) =>
        `${row.label}\n${short(row.value, 4)}${row.low == null ? "" : ` (${short(row.low)} to ${short(row.high)})`}` })),
    ],
  }, label);
}

function rocChart(lines, looks, title) {
  const points = lines.flatMap((line) => line.x.map((x, i) => ({ name: line.name, x, y: line.y[i] })));
  return drawn({
    width: 400, height: 400, marginLeft: 48, marginBottom: 40,
    ...scaleOf(looks),
    x: { label: "False positive rate", labelAnchor: "center", labelArrow: "none", domain: [0, 1] },
    y: { label: "True positive rate", labelArrow: "none", domain: [0, 1], grid: true },
    marks: [
      Plot.line([[0, 0], [1, 1]], { stroke: "var(--muted)", strokeWidth: 1 }),
      Plot.line(points, { x: "x", y: "y", z: "name", stroke: "name", strokeWidth: 2 }),
      Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: (point) =>
        `${point.name}\nfalse positives ${short(point.x)}, true positives ${short(point.y)}` })),
    ],
  }, `ROC curves, ${title}`);
}

/** A figure: title, chart, a button that saves it as SVG, and its numbers as a table. */
function figure(title, svg, numbers) {
  const save = h("button", { type: "button", class: "small", onclick: () => saveSvg(svg, title) }, "Save SVG");
  const details = numbers ? h("details", {}, h("summary", {}, "Numbers"), numbers()) : null;
  return h("figure", {}, h("figcaption", {}, title, " ", save), svg, details);
}

function saveSvg(svg, title) {
  const copy = svg.cloneNode(true);
  const style = getComputedStyle(document.documentElement);
  const text = new XMLSerializer().serializeToString(copy)
    .replace(/var\((--[\w-]+)\)/g, (_, name) => resolved(style, name))
    .replace(/currentColor/g, style.color);
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  h("a", { href: url, download: `${title.replace(/[^\w.-]+/g, "-")}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** The value of a CSS variable as a colour that other programs know. */
function resolved(style, name) {
  const probe = h("span", {});
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
