// Elements of the page. All texts of problems and models become text nodes, never HTML.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const parts = (hash) => hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decodeURIComponent);
const query = (hash) => new URLSearchParams(hash.split("?")[1] ?? "");

/** The fragment of a place on the page; values of `asked` that are empty are left out. */
function fragment(place, asked = {}) {
  const given = Object.entries(asked).filter(([, value]) => value !== "" && value != null);
  const words = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${place.map((one) => encodeURIComponent(one)).join("/")}${words}`;
}

const link = (place, text, attributes = {}) => h("a", { href: fragment(place), ...attributes }, text);

const mathOptions = {
  output: "mathml", throwOnError: false, trust: false, strict: "ignore", maxSize: 20,
  maxExpand: 200,
};
const delimiters = [
  { left: "$$", right: "$$", display: true }, { left: "\\[", right: "\\]", display: true },
  { left: "$", right: "$", display: false }, { left: "\\(", right: "\\)", display: false },
];

const options = { typeset: true };

/** A text with its mathematics typeset, unless the reader wants to see the source. */
function prose(tag, text, attributes) {
  const element = h(tag, attributes, text ?? "");
  if (options.typeset && /[$\\]/.test(text ?? "")) {
    renderMathInElement(element, { ...mathOptions, delimiters, errorCallback: () => {} });
  }
  return element;
}

/** An answer: mathematics without signs around it. */
function answerText(text) {
  if (text === null || text === undefined) return h("em", {}, "no answer");
  const element = h("span", { class: "answer" });
  if (options.typeset && /[\\^_{}]/.test(text)) {
    try {
      katex.render(text.replace(/^\$|\$$/g, ""), element, { ...mathOptions, throwOnError: true });
      return element;
    } catch {
      element.replaceChildren();
    }
  }
  element.textContent = text;
  return element;
}

const verdict = (right) =>
  h("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");

let captions = 0;

/** A table with a title above, which may be longer than the table is wide. */
function table(header, rows, caption, attributes = {}) {
  const id = caption ? `caption-${(captions += 1)}` : null;
  const head = h("tr", {}, header.map((cell) => (cell === "" ? h("td", {}) : h("th", { scope: "col" }, cell))));
  const body = rows.map((row) => h("tr", {}, [...row].map((cell, i) =>
    i || cell === "" ? h("td", { class: isNumber(cell) ? "number" : null }, cell) : h("th", { scope: "row" }, cell))));
  const made = h("table", { "aria-labelledby": id, ...attributes }, h("thead", {}, head), h("tbody", {}, body));
  // A wide table scrolls inside, also with the keyboard.
  const label = id ? { role: "group", "aria-labelledby": id } : {};
  const box = h("div", { class: "wide", tabindex: "0", ...label }, made);
  return id ? h("div", {}, h("p", { class: "caption", id }, caption), box) : box;
}

const textOf = (one) => (one instanceof Node ? one.textContent : one ?? "");
const isNumber = (cell) => /^[-+−]?[\d.,]+( |$|\(|%)/.test(textOf(cell).trim());

function select(label, choices, chosen, onchange) {
  const made = choices.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(chosen) }, text));
  return h("label", { class: "field" }, h("span", {}, label),
    h("select", { onchange: (event) => onchange(event.target.value) }, made));
}

function checkbox(label, checked, onchange, swatch) {
  const box = h("input", { type: "checkbox", checked, onchange: (e) => onchange(e.target.checked) });
  return h("label", { class: "check" }, box, swatch ?? null, label);
}

const announce = (text) => {
  document.getElementById("live").textContent = text;
};

function short(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function bytes(size) {
  const unit = size < 1e6 ? ["kB", 1e3] : size < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(size / unit[1]).toPrecision(3)} ${unit[0]}`;
}

/** A list in pages of `size`; `draw` makes the elements of some items. */
function paged(items, size, draw, start = 0) {
  const box = h("div", {});
  const show = (first) => {
    const bar = h("p", { class: "pager" });
    if (items.length > size) {
      bar.append(
        h("button", { type: "button", disabled: first === 0, onclick: () => show(first - size) }, "Previous"),
        ` ${first + 1} to ${Math.min(first + size, items.length)} of ${items.length} `,
        h("button", { type: "button", disabled: first + size >= items.length, onclick: () => show(first + size) }, "Next"));
    }
    box.replaceChildren(...draw(items.slice(first, first + size), first), bar);
  };
  show(Math.floor(start / size) * size);
  return box;
}
