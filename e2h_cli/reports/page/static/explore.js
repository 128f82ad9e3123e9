// The tidy metrics of an eval stage: choose metric, group, methods and N.

const metrics = await part("metrics");
const metricStages = new Set(Object.keys(metrics));

/** Columns of numbers of distinct values, as rows. */
function rowsOf(stage) {
  const columns = Object.entries(metrics[stage]);
  const count = columns.length ? columns[0][1].rows.length : 0;
  return Array.from({ length: count }, (_, i) =>
    Object.fromEntries(columns.map(([name, { values, rows }]) => [name, values[rows[i]]])));
}

const NUMBERS = ["seed", "n", "value", "low", "high", "problems"];
const FIXED = [...NUMBERS, "scale", "grader", "metric", "group"];
const LABELS = { majority: "Majority voting", "weighted-voting": "Weighted voting", "best-of-n": "Best-of-n", pass: "pass@N" };

function explorePage(stage, asked) {
  const names = [...metricStages];
  if (!names.length) return [h("h1", {}, "Explore"), h("p", {}, "No eval stage is finished.")];
  const chosen = metricStages.has(stage) ? stage : names[0];
  const rows = rowsOf(chosen);
  const distinct = (key, some = rows) => [...new Set(some.map((row) => row[key]).filter((one) => one !== null && one !== ""))];
  const metric = asked.get("metric") || (distinct("metric").includes("accuracy") ? "accuracy" : distinct("metric")[0]);
  const ofMetric = rows.filter((row) => row.metric === metric);
  const groups = distinct("group", ofMetric);
  const group = groups.includes(asked.get("group")) ? asked.get("group") : groups.includes("hard") ? "hard" : groups[0];
  const there = ofMetric.filter((row) => row.group === group);
  const methods = distinct("method", there);
  const off = new Set((asked.get("without") ?? "").split(",").filter(Boolean));
  const ns = distinct("n", there).sort((a, b) => a - b);
  const n = ns.includes(Number(asked.get("n"))) ? Number(asked.get("n")) : ns.at(-1);
  const go = (change) => {
    const now = { ...Object.fromEntries(asked), metric, group, n: n ?? "", without: [...off].join(","), ...change };
    location.hash = fragment(["explore", change.stage ?? chosen], { ...now, stage: "" });
  };
  const { shown, choices } = narrowed(there.filter((row) => !off.has(row.method)), asked);
  return [
    h("h1", {}, "Explore the metrics"),
    h("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
      select("Eval stage", names.map((one) => [one, one]), chosen, (value) => go({ stage: value })),
      select("Metric", distinct("metric").map((one) => [one, one]), metric, (value) => go({ metric: value })),
      select("Group", groups.map((one) => [one, one]), group, (value) => go({ group: value })),
      ns.length > 1 ? select("N", ns.map((one) => [one, one]), n, (value) => go({ n: value })) : null,
      methods.length > 1 ? h("fieldset", {}, h("legend", {}, "Methods"), methods.map((one) =>
        checkbox(LABELS[one] ?? one, !off.has(one), (on) => {
          off[on ? "delete" : "add"](one);
          go({ without: [...off].join(",") });
        }))) : null,
      choices.map(([key, values, value]) => select(key.replaceAll("_", " "),
        [["*", "all"], ...values.map((one) => [one, one])], value, (now) => go({ [key]: now })))),
    ...charts(shown, metric, group, n),
  ];
}

// More lines than these cannot be told apart.
const MOST_LINES = 10;

/**
 * Rows by what the reader has chosen of each column, `*` for all; rows without a value stay.
 * Where nothing is chosen and there are too many lines, the columns with most values get the first.
 */
function narrowed(rows, asked) {
  const values = (some, key) => [...new Set(some.map((row) => row[key]).filter((one) => one !== null && one !== undefined && one !== ""))].map(String);
  const keys = Object.keys(rows[0] ?? {}).filter((key) => !FIXED.includes(key) && !["method", "stage"].includes(key));
  const choices = keys.map((key) => [key, values(rows, key), asked.get(key) ?? ""]).filter(([, all]) => all.length > 1);
  const kept = () => rows.filter((row) => choices.every(([key, all, value]) =>
    !all.includes(value) || row[key] === null || row[key] === "" || String(row[key]) === value));
  for (const choice of d3.sort(choices, ([, all]) => -all.length)) {
    const lines = new Set(named(kept()).map((row) => row.name)).size;
    if (lines > MOST_LINES && !choice[2]) [choice[2]] = choice[1];
  }
  return { shown: kept(), choices };
}

/** Rows of methods that use no scores, once: they are the same under every reward model. */
function withoutTwins(rows) {
  const seen = new Set();
  return rows.map((row) => (row.aggregate || row.method === "" ? row : { ...row, reward_model: "", reward_size: "" }))
    .filter((row) => {
      const key = JSON.stringify({ ...row, stage: "" });
      return !seen.has(key) && seen.add(key);
    });
}

/** Names of the lines of rows: the columns in which they differ, the method first. */
function named(given) {
  const rows = withoutTwins(given);
  const keys = Object.keys(rows[0] ?? {}).filter((key) => !FIXED.includes(key));
  const columns = d3.sort(keys, (key) => (key === "method" ? 0 : 1));
  const distinct = (key, some) => new Set(some.map((row) => row[key])).size;
  const differ = columns.filter((key) => distinct(key, rows) > 1);
  // The stage says what other columns say, too, but for stages without tags. A column with one value
  // says nothing, though rows of other methods have none.
  const without = differ.filter((key) => key !== "stage");
  const fewest = without.filter((key) => distinct(key, rows.filter((row) => row[key] !== null && row[key] !== "")) > 1);
  const nameBy = (some) => (row) => some.map((key) => (key === "method" ? LABELS[row[key]] ?? row[key] : row[key])).filter(Boolean).join(", ") || "value";
  const points = (name) => new Set(rows.map((row) => `${name(row)}|${row.n}`)).size;
  const most = points(nameBy(differ));
  const name = nameBy([fewest, without].find((some) => points(nameBy(some)) === most) ?? differ);
  return rows.map((row) => ({ ...row, name: name(row) }));
}

function charts(some, metric, group, n) {
  const rows = named(some);
  const percent = /accuracy|agreement/.test(metric) ? " (%)" : "";
  const made = [];
  const lines = d3.groups(rows.filter((row) => row.n !== null), (row) => row.name).map(([name, points]) => {
    const sorted = d3.sort(points, (row) => row.n);
    const column = (key) => sorted.map((row) => row[key]);
    return { name, x: column("n"), y: column("value"), low: column("low"), high: column("high") };
  });
  const several = lines.some((line) => line.x.length > 1);
  const looks = looksOf(rows.map((row) => row.name));
  if (several) {
    made.push(h("p", { class: "legend" }, [...looks].map(([name, look]) => h("span", {}, swatch(look), name))),
      figure(`${metric}, ${group}`, lineChart(lines, looks, {
        x: "N = number of solutions per problem", y: `${metric}${percent}`, log2: true, width: 760, height: 380,
        label: `${metric} against N, ${group} problems`,
      }), () => pointsTable(lines, "N")));
  }
  const at = d3.sort(rows.filter((row) => !several || row.n === null || row.n === n || row.method === "greedy"), (row) => -row.value)
    .map((row) => ({ ...row, label: row.name }));
  if (at.length) {
    const title = `${metric}, ${group}${several ? `, N = ${n}` : ""}`;
    made.push(figure(title, intervalChart(at, looks, { x: `${metric}${percent}`, width: 760, label: title }), () =>
      table(["", "value", "interval", "problems"], at.map((row) => [row.label, short(row.value, 4), row.low == null ? "" : `${short(row.low)} to ${short(row.high)}`, String(row.problems ?? "")]), "")));
  } else made.push(h("p", {}, "No numbers for this choice."));
  return made;
}
