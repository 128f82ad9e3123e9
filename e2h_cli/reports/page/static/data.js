// The data of the run: parts of compressed JSON, unpacked when they are asked for.

const unpacked = new Map();

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function unpack(name) {
  const element = document.getElementById(`part-${name}`);
  if (!element) return null;
  const packed = new Blob([bytesOf(element.textContent)]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).json();
}

/** A part of the data; the promise is kept, so that nothing is unpacked twice. */
function part(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(name));
  return unpacked.get(name);
}

const run = await part("run");

/** Everything whose solutions can be looked at: sample stages, and rerank stages with scores. */
const sources = run.sets.flatMap((set) => {
  const votes = Object.keys(set.votes);
  const alone = { id: set.stage, label: `${set.stage} (no scores)`, set, votes: null };
  const scored = votes.map((stage) => ({
    id: stage, label: `${stage} (scores of ${set.stage})`, set, votes: stage,
  }));
  return votes.includes(set.stage) ? scored : [...scored, alone];
});

/** Other sources with solutions of the same problems. */
const comparable = (source) => sources.filter((one) => one !== source
  && one.set.problems === source.set.problems && one.set.first === source.set.first);

const sourceOf = (id) => sources.find((one) => one.id === id);

/** The problems of a source with their solutions, votes and scores. */
async function load(source) {
  const { set, votes } = source;
  const [known, solved, scored] = await Promise.all([
    part("problems"), part(set.chunk), votes ? part(`${set.chunk}-${votes}`) : null,
  ]);
  if (!set.byId) set.byId = new Map(known[set.problems].map((one) => [one.id, one]));
  if (!source.problems) {
    source.methods = votes ? set.votes[votes] : [{ name: "majority", aggregate: "" }];
    source.problems = solved.map((one, i) => joined(source, one, scored ? scored[i] : null));
    source.index = new Map(source.problems.map((one, i) => [one.id, i]));
  }
  return source;
}

/** A problem of a source: what is asked, the answers, and what each method chooses. */
function joined(source, solved, scored) {
  const { set, methods } = source;
  const about = set.byId.get(solved.id);
  const answers = solved.a.map(([text, right, votes], i) => ({ i, text, right: !!right, votes }));
  const majority = [solved.maj, answers[solved.maj]?.right ? 1 : 0, -1];
  const chosen = scored ? scored.c : [majority];
  let weighted = 0;
  const choices = methods.map((method, m) => {
    const [answer, right, sample] = chosen[m];
    const place = method.name === "majority" ? -1 : weighted++;
    const sums = place < 0 ? null : scored.sum[place];
    return { ...method, answer, right: !!right, sample, place, sums };
  });
  return { ...about, answers, choices, solved, scored, n: set.n, right: solved.right };
}

const choiceOf = (problem, name) => problem.choices.find((one) => one.name === name);

/** The choice that stands for a source: by weights where there are some, else of the majority. */
const mainChoice = (problem) => choiceOf(problem, "weighted-voting") ?? problem.choices.at(-1);

/** The kept solutions of a problem. */
function solutionsOf(problem, source) {
  const { solved, scored } = problem;
  return solved.s.map((sample, k) => {
    const text = solved.x[k];
    const group = solved.g[k];
    const [steps, rest] = solved.t[text];
    return {
      sample, steps, rest, group,
      answer: group < 0 ? solved.own[String(k)] : problem.answers[group].text,
      right: group >= 0 && problem.answers[group].right,
      tokens: solved.tokens[k],
      end: solved.end[k],
      logprob: solved.logprob?.[k] ?? null,
      wrong: source.set.oracle ? solved.wrong[text] : null,
      scores: scored?.steps?.[k] ?? null,
      outcome: scored?.out?.[k] ?? null,
      weights: scored ? scored.w.map((one) => one[k]) : [],
    };
  });
}

/** Whether all scores are between 0 and 1: only then 0.5 is a threshold. */
const areShares = (scores) => scores.every((score) => score >= 0 && score <= 1);

/** The first step with a score below 0.5, or -1. */
const firstLow = (scores) =>
  scores && areShares(scores) ? scores.findIndex((score) => score < 0.5) : -1;
