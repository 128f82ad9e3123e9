// Routes by the fragment of the address, the theme, and the keys.

const PAGES = [["", "Run"], ["results", "Results"], ["explore", "Explore"], ["problems", "Problems"], ["compare", "Compare"], ["training", "Training"]];
const main = document.getElementById("main");

function notFound(what) {
  return [h("h1", {}, "Not on this page"), h("p", {}, `There is no ${what} here.`), h("p", {}, link([], "To the run"))];
}

async function contentOf(hash) {
  const [page, a, b, c] = parts(hash);
  const asked = query(hash);
  if (page === "stage") return stagePage(a);
  if (page === "results") return resultsPage(a);
  if (page === "explore") return explorePage(a, asked);
  if (page === "problems") return problemsPage(a, asked);
  if (page === "problem") return problemPage(a, b, c);
  if (page === "compare") return comparePage(a, b, c);
  if (page === "training") return trainingPage(a, b);
  return page ? notFound(page) : overview();
}

let shownPlace = null;

/** Show what the fragment names. The focus moves to the content when the place has changed. */
async function route() {
  const hash = location.hash;
  if (hash === "#main") return;
  const content = await contentOf(hash);
  if (hash !== location.hash && parts(hash)[0] !== parts(location.hash)[0]) return;
  main.replaceChildren(...content.filter((one) => one !== null && one !== undefined));
  const title = main.querySelector("h1")?.textContent ?? "Run";
  document.title = `${title} · ${run.name} · e2h`;
  const [page, ...rest] = parts(hash);
  const current = { stage: "", problem: "problems" }[page] ?? page;
  for (const one of document.querySelectorAll("#nav a")) {
    if (one.dataset.page === current) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  const place = `${page}/${rest.slice(0, 2).join("/")}`;
  if (shownPlace !== null && shownPlace !== place) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    if (page !== "problems") announce(title);
  }
  shownPlace = place;
  const chosen = main.querySelector("article.chosen");
  if (chosen) {
    chosen.scrollIntoView({ block: "center" });
    chosen.focus({ preventScroll: true });
  } else if (page === "training" && rest[1]) document.getElementById("rollouts")?.scrollIntoView();
  main.dataset.shown = hash;
}

function stored(key, value) {
  // A file from disk may have no storage.
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function showTheme(theme) {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  if (theme) document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", String(dark));
  return dark;
}

function switchTheme() {
  const dark = showTheme(document.documentElement.dataset.theme);
  const theme = dark ? "light" : "dark";
  stored("e2h-theme", theme);
  showTheme(theme);
}

function moveSolution(step) {
  const cards = [...main.querySelectorAll("article.solution")];
  const at = cards.indexOf(document.activeElement.closest?.("article.solution"));
  const next = cards[at < 0 ? (step > 0 ? 0 : cards.length - 1) : at + step];
  next?.focus();
  next?.scrollIntoView({ block: "center" });
  return next !== undefined;
}

/** What a key does; false where it does nothing here. */
function act(key) {
  const click = (id) => {
    const found = document.getElementById(id);
    found?.click();
    return Boolean(found);
  };
  if (key === "/") {
    if (document.getElementById("search")) document.getElementById("search").focus();
    else {
      location.hash = listed.source ? fragment(["problems", listed.source], Object.fromEntries(listed.asked)) : "#/problems";
      focusSearch = true;
    }
    return true;
  }
  if (key === "ArrowLeft") return click("previous");
  if (key === "ArrowRight") return click("next");
  if (key === "ArrowDown" || key === "ArrowUp") return moveSolution(key === "ArrowDown" ? 1 : -1);
  if (key === "Escape" && listed.source && parts(location.hash)[0] === "problem") {
    location.hash = fragment(["problems", listed.source], Object.fromEntries(listed.asked));
    return true;
  }
  if (key === "d") switchTheme();
  else if (key === "?") document.getElementById("keys").showModal();
  else return false;
  return true;
}

let focusSearch = false;

document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("input, select, textarea, dialog");
  if (field && event.key === "Escape" && field.id === "search") field.blur();
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = event.key.startsWith("Arrow");
  // Where there is nothing to go to, and inside a table that scrolls, arrows scroll.
  if (arrows && (event.shiftKey || event.target.closest?.(".wide"))) return;
  if (arrows && event.key.match(/Up|Down/) && !["problem"].includes(parts(location.hash)[0])) return;
  if (act(event.key)) event.preventDefault();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());
document.getElementById("run-name").textContent = `${run.name}${run.scale_in_words ? `, ${run.scale_in_words}` : ""}${run.seed === undefined ? "" : `, seed ${run.seed}`}`;
document.getElementById("nav").append(...PAGES.map(([page, name]) =>
  h("li", {}, h("a", { href: fragment(page ? [page] : []), "data-page": page }, name))));
window.addEventListener("hashchange", async () => {
  await route();
  if (focusSearch) document.getElementById("search")?.focus();
  focusSearch = false;
});
showTheme(stored("e2h-theme"));
await route();
