"""A run folder like that of a real run, from simulated authors and scores: no model is trained.

Solutions are those of chain arithmetic's human authors, with their mistakes. Scores know the first
wrong step, more or less. The stages are evaluated by the real code of ``e2h eval``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common.files import write_jsonl
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, SCORE_SCHEMA, write_table
from e2h_cli.data import chain_arithmetic as chains
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import read_answered_problems, read_split, write_split
from e2h_cli.data.splitting import Part, Split
from e2h_cli.evaluation.measurements import measure, predictions, values_of_n, voting_methods
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import get_grader
from e2h_cli.pipeline.run_folder import ResolvedInput, RunFolder, StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.result_files import write_accuracy, write_predictions
from e2h_cli.rl.rollouts import ROLLOUT_SCHEMA
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages import evaluate

VIEW = Path(__file__).parent / "recipes" / "page.yaml"
# A problem and a solution that would do harm if they were HTML, and mathematics.
HOSTILE = '<img src=x onerror="document.title=1"></script><script>document.title=2</script>'
MATH = r"Let $x^2 = \frac{1}{4}$, so that \(x = \sqrt{\frac{1}{4}}\)."


def simulated_run(folder: Path, *, per_level: int = 4, samples: int = 16, seed: int = 0) -> Path:
    """Make the run of ``recipes/page.yaml`` in a folder, which need not exist."""
    rng = random.Random(seed)
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    run.describe("page", "tiny", seed)
    _split(run, per_level, rng)
    _stage(run, "pretrain", "pretrain", {"problems": "split"}, log=_losses(40),
           counts={"seen": {"documents": [1, 2, 3, 4, 5]}})  # fmt: skip
    easy = {"questions": [1, 2, 3], "labels": [1, 2, 3], "answers": [1, 2, 3]}
    common = {"size": "small", "supervision": "human"}
    _stage(run, "sft", "sft", {"problems": "split", "model": "pretrain"}, log=_losses(60),
           tags={**common, "generator": "SFT"}, counts={"seen": easy})  # fmt: skip
    for kind in ("prm", "orm"):
        _stage(run, f"train-{kind}", "train-rm", {"model": "pretrain", "problems": "split"},
               tags={"reward_model": kind.upper(), "reward_size": "small"}, log=_losses(30),
               counts={"seen": easy})  # fmt: skip
    _samples(run, "sample", samples, rng)
    _samples(run, "greedy", 1, rng)
    for kind, noise in (("prm", 0.12), ("orm", 0.3)):
        _rerank(run, f"rerank-{kind}", f"train-{kind}", noise, np.random.default_rng(seed))
    _rl(run, rng)
    _evaluate(run, seed)
    return run.path


def _stage(
    run: RunFolder, name: str, command: str, inputs: dict[str, str],
    settings: dict[str, Any] | None = None, *, tags: dict[str, str] | None = None,
    counts: dict[str, Any] | None = None, log: list[dict[str, Any]] | None = None,
) -> StageFolder:  # fmt: skip
    """A finished stage with a log, if there is one; files are written before it is finished."""
    stage = run.stage(name)
    stage.path.mkdir(exist_ok=True)
    if log:
        write_jsonl(stage.path / "log.jsonl", log)
    given = {
        key: [ResolvedInput(one, run.stage(one).fingerprint) for one in value.split()]
        for key, value in inputs.items()
    }
    stage.start(command, settings or {"seed": 0, "learning_rate": 1e-3}, given, (), tags, "page")
    stage.finish(counts or {}, 12.0)
    return stage


def _split(run: RunFolder, per_level: int, rng: random.Random) -> None:
    """Chains of five levels."""
    taken: set[str] = set()
    drawn: list[Problem] = []
    for level, chain in chains.distinct(dict.fromkeys(range(1, 6), 3 * per_level), rng, taken):
        steps, answer = chains.solve(chain)
        name = f"chains/test/{len(drawn)}"
        drawn.append(Problem(name, chain.question, level, chain.subject, "chains", answer,
                             "\n".join(steps)))  # fmt: skip
    parts: dict[Part, list[Problem]] = {"test": [], "easy": [], "validation": [], "hard": []}
    for i, problem in enumerate(drawn):
        hard = problem.level > 3
        part: Part = "test"
        if i % 3:
            part = "validation" if i % 3 == 1 else "hard" if hard else "easy"
        parts[part].append(problem)
    folder = run.stage("split").path
    folder.mkdir()
    write_split(folder, Split(parts, [], [], 3), source="chains")
    _stage(run, "split", "split", {}, {"source": "chains", "max_level": 3})


def _losses(count: int) -> list[dict[str, Any]]:
    return [{"step": i, "loss": round(2 * 0.95**i + 0.3, 4)} for i in range(1, count + 1)]


def _samples(run: RunFolder, name: str, n: int, rng: random.Random) -> None:
    rows = []
    problems = read_split(run.stage("split").path, "test")
    for problem in problems:
        chain = chains.parse(problem.problem)
        for sample in range(n):
            steps, answer = chains.solve_like_a_human(chain, rng)
            if problem is problems[-1]:  # most authors make the same mistake
                slips = [*(0 for _ in chain.operations[1:]), int(sample % 3 > 0)]
                steps, answer = chains.solve(chain, slips=slips)
            text: str = template.completion(steps, answer)
            given: str | None = answer
            if sample == 5:  # reached the limit
                text, given = text[: len(text) // 2], None
            if sample == 6:
                text, given = template.completion([HOSTILE, MATH], r"\frac{1}{2}"), r"\frac{1}{2}"
            rows.append({
                "id": problem.id, "sample": sample, "text": text, "answer": given,
                "finish_reason": "length" if given is None else "stop", "tokens": len(text),
                "logprob": -rng.random() * len(steps),
            })  # fmt: skip
    folder = run.stage(name).path
    folder.mkdir()
    write_table(folder / "samples.parquet", pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))
    settings = {"n": n, "temperature": 0.0 if n == 1 else 0.8, "part": "test"}
    _stage(run, name, "sample", {"problems": "split", "model": "sft"}, settings)


def _rerank(run: RunFolder, name: str, model: str, noise: float, rng: np.random.Generator) -> None:
    problems = read_answered_problems(run.stage("split").path)
    samples = pq.read_table(run.stage("sample").path / "samples.parquet")
    rows = []
    for row in samples.to_pylist():
        steps = [step.text for step in template.parse(row["text"]).steps]
        right = chains.check_steps(problems[row["id"]].problem, steps)
        sound = [0.92 if all(right[: i + 1]) else 0.12 for i in range(len(right))]
        means = np.array([*sound, min([1.0, *sound])])
        scores = np.clip(means + noise * rng.normal(size=len(means)), 0.01, 0.99)
        rows.append({"id": row["id"], "sample": row["sample"], "step_scores": scores[:-1].tolist(),
                     "outcome_score": float(scores[-1])})  # fmt: skip
    scored = pa.Table.from_pylist(rows, schema=SCORE_SCHEMA)
    folder = run.stage(name).path
    write_table(folder / "scores" / "scores.parquet", scored)
    with get_grader("exact") as grader:
        groups = group_samples(samples, problems, grader)
    methods = voting_methods(groups, scored)
    measured = measure(groups, methods, values_of_n(groups[0].size, None), draws=50, seed=0,
                       generator="sample", reward_model=model)  # fmt: skip
    write_accuracy(folder, [group.problem.id for group in groups], measured)
    write_predictions(folder, predictions(groups, methods))
    inputs = {"problems": "split", "samples": "sample", "reward_model": model}
    _stage(run, name, "rerank", inputs, {"grader": "exact", "method": "all"})


def _rl(run: RunFolder, rng: random.Random) -> None:
    """A training that hacks its reward, with its rollouts."""
    lines: list[dict[str, Any]] = []
    for step in range(21):
        line: dict[str, Any] = {"step": step}
        if step:
            line |= {"reward": 0.2 + 0.03 * step, "kl": 0.002 * step, "tokens": 30 + rng.random()}
        if step % 5 == 0:
            line |= {"easy": 0.9 - 0.03 * step, "vote": 0.5 + 0.005 * step, "paper": 0.4}
        lines.append(line)
    lines[-1]["warning"] = "reward rose from 0.290 to 0.740: the policy may be hacking the reward"
    folder = run.stage("rl").path
    folder.mkdir()
    problem = read_split(run.stage("split").path, "test")[0]
    for step in range(20):
        rollout = {
            "id": problem.id, "sample": 0, "text": f"{HOSTILE}\n\n# Answer\n\n{step}",
            "finish_reason": "stop", "ids": [1], "answer": str(step), "right": False,
            "step_scores": [0.5], "outcome_score": 0.4, "step_rewards": [0.1], "last_reward": -0.2,
            "process": 0.1, "answer_reward": 0.0,
        }  # fmt: skip
        table = pa.Table.from_pylist([rollout], schema=ROLLOUT_SCHEMA)
        write_table(folder / "rollouts" / f"step-{step:06d}.parquet", table)
    counts = {"best_step": 5, "checkpoint_rule": "vote", "choices": ["rule vote takes step 5"]}
    inputs = {"problems": "split", "model": "sft", "reward_model": "train-prm"}
    _stage(run, "rl", "rl", inputs, {"algo": "ppo", "steps": 20}, counts=counts, log=lines)


def _evaluate(run: RunFolder, seed: int) -> None:
    names = {"problems": ["split"], "samples": ["greedy"], "votes": ["rerank-prm", "rerank-orm"]}
    paths = {key: [str(run.stage(one).path) for one in many] for key, many in names.items()}
    folder = run.stage("fig").path
    folder.mkdir()
    settings = EvalSettings(seed=seed, reward_metrics=True, grader="exact", draws=50)
    context = StageContext("fig", settings, paths, names, {}, folder, run.path, "tiny")
    counts = evaluate.run(context)
    _stage(run, "fig", "eval", {key: " ".join(many) for key, many in names.items()},
           json.loads(settings.model_dump_json()), counts=counts)  # fmt: skip
