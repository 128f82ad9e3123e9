// Curves of trainings, the warning of reward hacking, and rollouts.

const CURVES = [
  ["Reward", ["reward"], 1],
  ["Validation accuracy (%)", ["easy", "vote", "paper"], 100],
  ["KL to the initial policy (nats per token)", ["kl"], 1],
  ["Tokens per solution", ["tokens"], 1],
  ["Loss", ["loss", "eval_loss", "policy_loss", "value_loss"], 1],
];
const CURVE_NAMES = {
  easy: "easy problems", vote: "agreement with the vote on hard questions",
  paper: "all levels (reads hard answers)", eval_loss: "validation",
};

async function trainingPage(name, step) {
  if (!run.trainings.length) return [h("h1", {}, "Training"), h("p", {}, "No training is finished.")];
  const sorted = d3.sort(run.trainings, (one) => one.command !== "rl");
  const training = name ? run.trainings.find((one) => one.stage === name) : sorted[0];
  if (!training) return notFound(`training ${name}`);
  const x = training.x_name;
  const looksNames = CURVES.flatMap(([, columns]) => columns).map((one) => CURVE_NAMES[one] ?? one);
  const shown = new Set(CURVES.flatMap(([, columns]) => columns));
  const more = Object.keys(training.columns).filter((one) => !shown.has(one));
  const state = h("div", {});
  return [
    h("h1", {}, `Training ${training.stage}`),
    h("div", { class: "controls" },
      select("Stage", sorted.map((one) => [one.stage, `${one.stage} (${one.command})`]), training.stage, (value) => { location.hash = fragment(["training", value]); })),
    h("p", {}, link(["stage", training.stage], "settings and lineage")),
    training.warning ? h("p", { class: "warning", role: "alert" }, `Warning: ${training.warning}.`) : null,
    training.command === "rl" && !training.warning ? h("p", { class: "muted" }, "No sign of reward hacking: no validation accuracy has fallen while the reward rose.") : null,
    training.choices?.length ? h("ul", {}, training.choices.map((line) => h("li", {}, line))) : null,
    h("div", { class: "panels" }, CURVES.map(([title, columns, factor]) => curvePanel(training, title, columns, factor, looksNames))),
    more.length ? select("Another column", [["", "none"], ...more.map((one) => [one, one])], "", (column) =>
      state.replaceChildren(...(column ? [curvePanel(training, column, [column], 1, [column])] : []))) : null,
    state,
    ...(await rolloutsOf(training, step, x)),
  ].filter(Boolean);
}

function curvePanel(training, title, columns, factor, names) {
  const lines = columns.filter((one) => training.columns[one]?.some((value) => value !== null)).map((column) => {
    const points = training.x.map((x, i) => [x, training.columns[column][i]]).filter(([, y]) => y !== null);
    return { name: CURVE_NAMES[column] ?? column, x: points.map(([x]) => x), y: points.map(([, y]) => factor * y) };
  });
  if (!lines.length) return null;
  const looks = looksOf(lines.map((line) => line.name));
  const legend = lines.length > 1 ? h("p", { class: "legend" }, [...looks].map(([name, look]) => h("span", {}, swatch(look), name))) : "";
  const svg = lineChart(lines, looks, { x: training.x_name, y: null, whole: true, label: `${title} of ${training.stage}` });
  const made = figure(title, svg, () => pointsTable(lines, training.x_name));
  made.querySelector("figcaption").after(legend);
  return made;
}

async function rolloutsOf(training, step, x) {
  const kept = await part(`rollouts-${training.stage}`);
  if (!kept) return [];
  const steps = training.steps.map(String);
  const chosen = steps.includes(step) ? step : steps[0];
  const at = steps.indexOf(chosen);
  const place = (one) => fragment(["training", training.stage, one]);
  const fewer = training.steps.length < training.steps_on_disk ? ` ${training.steps.length} of ${training.steps_on_disk} steps are on this page, evenly spaced, and the chosen one.` : "";
  return [
    h("h2", { id: "rollouts" }, `Rollouts of ${x} ${chosen}`),
    h("p", { class: "muted" }, `The first ${kept[chosen].length} solutions that the policy wrote.${fewer} Step rewards in brackets.`),
    h("p", { class: "pager" },
      select("Step", steps.map((one) => [one, one]), chosen, (value) => { location.hash = place(value); }),
      at > 0 ? h("a", { href: place(steps[at - 1]), id: "previous" }, "← previous") : "", " ",
      at + 1 < steps.length ? h("a", { href: place(steps[at + 1]), id: "next" }, "next →") : ""),
    paged(kept[chosen], 8, (some) => some.map(rolloutCard)),
  ];
}

function rolloutCard(rollout) {
  const reward = (values) => values.map((one) => short(one, 2)).join(", ");
  const facts = [
    rollout.out === null ? null : `outcome score ${short(rollout.out)}`, `reward at the end ${short(rollout.last)}`,
    rollout.rewards.length ? `step rewards [${reward(rollout.rewards)}]` : null,
    rollout.scores.length ? `step scores ${reward(rollout.scores)}` : null, `finish ${rollout.end}`,
  ].filter(Boolean);
  return h("article", { class: "solution" },
    h("header", {}, h("h3", {}, `${rollout.id}, sample ${rollout.s}`), " ", answerText(rollout.answer), " ",
      rollout.right === null ? "" : verdict(rollout.right)),
    h("p", { class: "muted" }, facts.join(" · ")), prose("pre", rollout.text, { class: "rest" }));
}
