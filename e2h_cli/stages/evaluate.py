"""The work of ``e2h eval``: everything measured in a run, in one table, one plot, one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import max_level, read_answered_problems
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.grading import Grader, get_grader
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.run_folder import STAGE_RECORD
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.figures import accuracy_against_n
from e2h_cli.reports.results import (
    Comparison,
    Measurement,
    Metric,
    Results,
    contrasts,
    groups_of,
    read_votes,
    summarise,
    write_results,
)
from e2h_cli.reports.several import present_several
from e2h_cli.reports.tables import BY, main_lines, present
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages.evaluate_reward import measure_reward

PLOT = "accuracy-against-n"
_MAIN_VOTE = f"weighted-voting ({BEST_AGGREGATE['weighted-voting']})"


def run(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Gather, test, print, draw; results go into the run folder too."""
    settings = context.settings
    problems = read_answered_problems(context.input_path("problems"))
    grader = get_grader(settings.grader, cache=context.verdict_cache)
    levels = max_level(context.input_path("problems"))
    with grader:
        sets = [
            _generator_accuracy(Path(place), name, problems, grader)
            for place, name in zip(
                context.inputs["samples"], context.input_names["samples"], strict=True
            )
        ]
        diagnostics = []
        for place in context.inputs["votes"] if settings.reward_metrics else []:
            diagnostics += measure_reward(
                Path(place),
                problems,
                grader,
                max_level=levels,
                confidence=settings.confidence,
                target=context.output_dir / f"reward-of-{Path(place).name}",
                note=f"{context.scale} scale, all problems",
            )
    sets += [read_votes(Path(place)) for place in context.inputs["votes"]]
    if not sets:
        raise InputError("nothing to evaluate", hint="give --samples or --votes")
    several = len({m.reward for _, many in sets for m in many if m.reward}) > 1
    figures, comparisons = [], []
    for ids, measurements in sets:
        done = summarise(
            measurements,
            contrasts(measurements),
            groups_of([problems[i] for i in ids], levels),
            grader=f"{grader.name} {grader.version}",
            confidence=settings.confidence,
            seed=settings.seed,
        )
        figures += done.figures
        comparisons += _named(done) if several else done.comparisons
    results = Results(figures, comparisons)
    about: dict[str, Any] = {"scale": context.scale}
    if settings.table is None:
        markdown = present(results, context.scale, settings.confidence)
        markdown += present_several(figures, diagnostics, context.scale)
    else:
        markdown, about[settings.table] = _table(context, settings, sets, problems, levels)
    note = f"{context.scale} scale; bands: {settings.confidence:.0%} intervals over problems"
    if several:
        first = next(f.reward for f in figures if f.reward)
        note = f"{note}; reward model: {first}"
    finding = "" if settings.table else sentence(results, context.scale, levels)
    if finding:
        about["finding"] = finding
    if diagnostics:
        about["diagnostics"] = diagnostics
    for folder in (context.output_dir, context.run_dir):
        write_results(folder, results, about, f"{markdown}\n{finding}\n" if finding else markdown)
    if any(f.method == "majority" for f in figures):
        drawn = accuracy_against_n(figures, context.output_dir / PLOT, max_level=levels, note=note)
        for path in drawn:
            shutil.copyfile(path, context.run_dir / path.name)
        console.print(f"Plot: {context.run_dir / drawn[0].name} (and .svg)")
    if finding:
        console.print(f"[bold]{finding}[/bold]")
    return {"figures": len(figures), "comparisons": len(comparisons)}


def _table(
    context: StageContext[EvalSettings],
    settings: EvalSettings,
    sets: Sequence[tuple[list[str], list[Measurement]]],
    problems: Mapping[str, Problem],
    levels: int,
) -> tuple[str, dict[str, Any]]:
    """A table of the paper with ours, as Markdown and for results.json."""
    from e2h_cli.reports import table5

    if not sets or context.inputs["votes"]:
        raise InputError("table 5 is made of samples alone", hint="give --samples, and no --votes")
    ids = sets[0][0]
    if any(other != ids for other, _ in sets):
        raise InputError("the sample stages answer different problems", where=context.output_dir)
    lines, orderings = table5.lines_of(
        [table5.origin(Path(place)) for place in context.inputs["samples"]],
        [measurements[0] for _, measurements in sets],
        groups_of([problems[i] for i in ids], levels),
        confidence=settings.confidence,
        seed=settings.seed,
    )
    others = table5.other_seeds(context.inputs["others"])
    markdown = table5.present_table5(lines, orderings, others, context.scale)
    return markdown, table5.as_json(lines, orderings)


def _named(results: Results) -> list[Comparison]:
    """Comparisons of one stage, with the reward model that they are about."""
    reward = next((f.reward for f in results.figures if f.reward), "")
    return [replace(c, a=f"{c.a}{BY}{reward}") for c in results.comparisons]


def _generator_accuracy(
    place: Path, name: str, problems: Mapping[str, Problem], grader: Grader
) -> tuple[list[str], list[Measurement]]:
    """Accuracy of single samples: greedy decoding, or the mean over random ones."""
    groups = group_samples(read_samples(place), problems, grader)
    record = place / STAGE_RECORD
    settings = read_json(record)["settings"] if record.is_file() else {}
    method = "greedy" if settings.get("temperature") == 0 else "single sample"
    accuracy = np.array([pool.right_samples.mean() for pool in groups])
    generator = Path(name).name
    return [p.problem.id for p in groups], [Measurement(generator, "", method, "", 1, accuracy)]


def sentence(results: Results, scale: str, levels: int) -> str:
    """What was found about hard problems; claims no more than the test allows."""
    found = next(
        (
            c
            for c in results.comparisons
            if c.group == "hard" and c.a.startswith(_MAIN_VOTE) and "majority" in c.b
        ),
        next(
            (c for c in results.comparisons if c.group == "hard" and c.a.startswith("weight")), None
        ),
    )
    if found is None:
        return f"At {scale} scale: no weighted voting on hard problems was measured."
    figures: dict[str, Metric] = {}
    for f in main_lines(results.figures):
        if f.group == "hard" and f.k == found.k:
            figures.setdefault(f.method, f)
    weighted, majority = figures["weighted-voting"], figures["majority"]
    numbers = (
        f"{weighted.accuracy:.1f} % of {weighted.problems} hard problems "
        f"(levels {levels + 1} and up) against {majority.accuracy:.1f} % by majority, with "
        f"{found.k} solutions each: {found.difference:+.1f} points ({found.low:+.1f} to "
        f"{found.high:+.1f}, p = {found.p:.4f})"
    )
    verdict = (
        "no difference is shown"
        if found.p >= 0.05
        else "the reward model lifts accuracy beyond what it was trained on"
        if found.difference > 0
        else "the reward model does harm"
    )
    return (
        f"At {scale} scale, voting weighted by a reward model that saw only easy problems "
        f"(levels 1-{levels}) solves {numbers}; {verdict}."
    )
