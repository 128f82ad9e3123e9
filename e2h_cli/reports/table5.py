"""Greedy accuracy after RL beside the paper's Tables 2 and 5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.evaluation.statistics import Bools
from e2h_cli.reports.result_files import RESULTS
from e2h_cli.reports.results import MAIN_GROUPS, SIGNIFICANCE, Comparison, summarise
from e2h_cli.reports.tables import ReportTable, Row, markdown_of

NAME = "table5"
_METHODS = {"ppo": "PPO", "grpo": "GRPO", "rest-em": "ReST-EM", "dpo": "DPO"}
_BLOCKS = ("PRM800K", "MetaMath")

_BEST = ("PPO", "all", "easy", True)
_SFT = ("SFT", "-", "-", False)
# Orderings on hard problems that the paper draws its conclusions from (p.9, p.20).
_CLAIMS = (
    (_BEST, _SFT),
    (_BEST, ("PPO", "easy", "easy", False)),
    (_BEST, ("DPO", "easy", "easy", True)),
    (_BEST, ("ReST-EM", "easy", "easy", False)),
    (("PPO", "easy", "easy", False), ("PPO", "all", "all", False)),
    (("PPO", "easy", "easy", False), ("PPO", "hard", "hard", False)),
    (("DPO", "easy", "easy", True), ("DPO", "all", "all", True)),
    (("ReST-EM", "easy", "easy", False), ("ReST-EM", "all", "all", False)),
)

Key = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Line:
    """One row: how the generator was trained, and its accuracy by group in percent.

    ``reads_hard``: whether hard gold answers were used: "no", "train" or "choice" (of the
    checkpoint). ``accuracy``: group -> (mean, low, high); ``against_sft``: group -> (points, p).
    """

    method: str
    questions: str
    answers: str
    prm: bool
    reads_hard: str
    checkpoint: int | None
    accuracy: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    against_sft: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Method, questions, answers, PRM: unique in the table."""
        return self.method, self.questions, self.answers, self.prm


def line_of(record: Mapping[str, Any], samples: Path) -> Line:
    """The row of a generator, without numbers, by the record of the stage that trained it.

    Args:
        record: of the stage.
        samples: drawn from the generator, for the message.

    Raises:
        InputError: the stage is neither ``sft`` nor ``rl``.
    """
    if record["command"] == "sft":
        return Line(*_SFT, "no", None)
    if record["command"] != "rl":
        raise InputError(
            f"table 5 has no row for a generator made by e2h {record['command']}", where=samples
        )
    settings = record["settings"]
    algo = settings["algo"]
    prm = algo == "dpo" or (algo != "rest-em" and settings["shaping"] != "none")
    answers = settings["answers"]
    if answers == "all":
        answers = settings["questions"]
    reads_hard = (
        "train"
        if answers in ("hard", "all")
        else "choice"
        if settings["checkpoint_rule"] == "paper"
        else "no"
    )
    checkpoint = record["counts"].get("best_step")
    return Line(_METHODS[algo], settings["questions"], answers, prm, reads_hard, checkpoint)


def add_numbers(
    lines: Sequence[Line],
    measurements: Sequence[Measurement],
    groups: Mapping[str, Bools],
    *,
    confidence: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Add intervals and paired tests against SFT to the rows; return the paper's orderings on ours.

    Args:
        lines: rows without numbers.
        measurements: accuracy of each row on the same problems.
        groups: masks of easy, hard, all.
        confidence: of the intervals.
        seed: of resampling.

    Raises:
        InputError: two rows have the same key, or a group has no problem.
    """
    for key, count in Counter(line.key for line in lines).items():
        if count > 1:
            raise InputError(f"two of the samples are of: {name_of(key)}")
    for group in MAIN_GROUPS:
        if group not in groups:
            raise InputError(f"the samples answer no {group} problem, and table 5 has a column")
    named = {
        line.key: replace(m, method=name_of(line.key))
        for line, m in zip(lines, measurements, strict=True)
    }
    pairs = [(key, _SFT) for key in named if key != _SFT] + list(_CLAIMS)
    results = summarise(
        list(named.values()),
        [(named[a], named[b]) for a, b in dict.fromkeys(pairs) if a in named and b in named],
        {group: groups[group] for group in MAIN_GROUPS},
        grader="",
        confidence=confidence,
        seed=seed,
        rounded=False,
    )
    by_name = {name_of(line.key): line for line in lines}
    for metric in results.metrics:
        by_name[metric.method].accuracy[metric.group] = (metric.accuracy, metric.low, metric.high)
    compared = {(c.group, c.a, c.b): c for c in results.comparisons}
    for (group, a, b), test in compared.items():
        if b == name_of(_SFT):
            by_name[a].against_sft[group] = (test.difference, test.p)
    claims = [(a, b, compared.get(("hard", name_of(a), name_of(b)))) for a, b in _CLAIMS]
    return [_ordering(a, b, c) for a, b, c in claims if c is not None]


def _ordering(a: Key, b: Key, test: Comparison) -> dict[str, Any]:
    """One of the paper's orderings beside the same difference in our run."""
    paper = paper_rows(_BLOCKS[0])
    verdict = (
        "not shown" if test.p >= SIGNIFICANCE else "holds" if test.difference > 0 else "reversed"
    )
    return {
        "better": name_of(a), "worse": name_of(b), "group": test.group,
        "ours": round(test.difference, 2), "p": round(test.p, 5),
        "paper": round(paper[a]["hard"] - paper[b]["hard"], 1), "verdict": verdict,
    }  # fmt: skip


def name_of(key: Key) -> str:
    """The name of a row: ``PPO, all questions, easy answers, PRM``."""
    method, questions, answers, prm = key
    if method == "SFT":
        return method
    return f"{method}, {questions} questions, {answers} answers{', PRM' if prm else ''}"


def paper_rows(block: str) -> dict[Key, dict[str, Any]]:
    """The paper's rows for one supervision set."""
    file = Path(__file__).parent / "paper" / "table5.yaml"
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {_key_of(row): row for row in rows if row["block"] == block}


def _key_of(row: Mapping[str, Any]) -> Key:
    return row["method"], row["questions"], row["answers"], row["prm"]


def other_seeds(folders: Sequence[str]) -> list[dict[Key, float]]:
    """Hard accuracy by row of other run folders.

    Raises:
        InputError: a folder without such a table.
    """
    found = []
    for folder in folders:
        table = read_json(Path(folder) / RESULTS).get(NAME)
        if table is None:
            raise InputError("no table 5 here", where=folder, hint="make it with: e2h run table2")
        found.append({_key_of(row): row["accuracy"]["hard"][0] for row in table["rows"]})
    return found


def as_tables(
    lines: Sequence[Line],
    orderings: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[Key, float]],
    scale: str,
) -> tuple[list[ReportTable], list[str]]:
    """The table, the table of orderings if there are any, and the notes below them."""
    title = (
        f"Greedy accuracy in percent after RL ({scale} scale, ± half of the interval) beside the "
        "paper's Table 5"
    )
    tables = [ReportTable(title, *table_rows(lines, others))]
    if orderings:
        title = "The paper's orderings on hard problems, paired test on ours"
        header = ("", "better - worse", "paper", "ours", "p", "")
        rows: list[Row] = [
            ("", f"{o['better']} - {o['worse']}", f"{o['paper']:+.1f}", f"{o['ours']:+.1f}",
             f"{o['p']:.4f}", o["verdict"])
            for o in orderings
        ]  # fmt: skip
        tables.append(ReportTable(title, header, rows))
    return tables, _notes(lines, orderings, others, scale)


def as_markdown(tables: Sequence[ReportTable], notes: Sequence[str]) -> str:
    """Tables and notes."""
    return markdown_of(tables) + "\n" + "".join(f"* {note}\n" for note in notes)


def table_rows(
    lines: Sequence[Line], others: Sequence[Mapping[Key, float]]
) -> tuple[Row, list[Row]]:
    """Header and rows of the table; the paper's numbers are easy/hard/all."""
    blocks = [paper_rows(block) for block in _BLOCKS]
    rows: list[Row] = []
    for line in lines:
        paper = next(
            (
                "/".join(f"{block[line.key][g]:.1f}" for g in MAIN_GROUPS) + "*" * number
                for number, block in enumerate(blocks)
                if line.key in block
            ),
            "-",
        )
        accuracy = [
            f"{mean:.1f}±{(high - low) / 2:.1f}"
            for mean, low, high in (line.accuracy[g] for g in MAIN_GROUPS)
        ]
        sft = line.against_sft.get("hard")
        hard = [f"{other[line.key]:.1f}" if line.key in other else "-" for other in others]
        rows.append(
            (
                line.method,
                line.questions,
                line.answers,
                "yes" if line.prm else "no",
                *accuracy,
                f"{sft[0]:+.1f} ({sft[1]:.4f})" if sft else "",
                paper,
                line.reads_hard,
                *(["/".join(hard)] if others else []),
            )
        )
    header = (
        "method", "data", "answers", "PRM", *MAIN_GROUPS, "hard - SFT (p)", "paper",
        "reads hard", *(["others"] if others else []),
    )  # fmt: skip
    return header, rows


def _notes(
    lines: Sequence[Line],
    orderings: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[Key, float]],
    scale: str,
) -> list[str]:
    notes = [
        "reads hard: whether hard gold answers were used in training, or to choose the checkpoint",
        "paper: easy / hard / all of Llemma 7b, PRM800K; * MetaMath, where the other has no row",
    ]
    if others:
        notes.append(f"others: hard, of {len(others)} more runs, each its own from the split on")
    start = next((line for line in lines if line.key == _SFT), None)
    if scale == "tiny" and start and any(o["verdict"] == "reversed" for o in orderings):
        paper = paper_rows(_BLOCKS[0])[_SFT]["hard"]
        notes.append(
            f"reversed: the tiny start solves {start.accuracy['hard'][0]:.0f} % of the hard "
            f"problems (paper: {paper} %), so that right answers to learn from are plenty"
        )
    return notes


def as_json(lines: Sequence[Line], orderings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table for results.json."""
    return {"rows": [asdict(line) for line in lines], "orderings": list(orderings)}
