"""Greedy accuracy after RL beside the paper's Tables 2 and 5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.evaluation.statistics import Bools
from e2h_cli.reports.paper_numbers import paper_table
from e2h_cli.reports.results import MAIN_GROUPS, SIGNIFICANCE, holm_of, shown_p, summarise
from e2h_cli.reports.tables import ReportTable, Row

NAME = "table5"
_METHODS = {"ppo": "PPO", "grpo": "GRPO", "rest-em": "ReST-EM", "dpo": "DPO"}

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

    ``reads_hard``: whether hard gold answers were used, by the lineage: "no", "train", "choice" (of
    the checkpoint) or "unknown".
    ``accuracy``: group -> (mean, low, high); ``against_sft``: group -> (points, p, p corrected by
    Holm for the rows of the table); p is None where the problems are too few.
    """

    method: str
    questions: str
    answers: str
    prm: bool
    reads_hard: str
    checkpoint: int | None
    accuracy: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    against_sft: dict[str, tuple[float, float | None, float | None]] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Method, questions, answers, PRM: unique in the table."""
        return self.method, self.questions, self.answers, self.prm


def line_of(record: Mapping[str, Any], samples: Path, reads_hard: str) -> Line:
    """The row of a generator, without numbers, by the record of the stage that trained it.

    ``samples`` are drawn from it; ``reads_hard`` is by its lineage. InputError if the stage is
    neither ``sft`` nor ``rl``.
    """
    command, settings = record["command"], record["settings"]
    if command == "sft":
        return Line(*_SFT, reads_hard, None)
    if command != "rl":
        raise InputError(f"table 5 has no row for a generator made by e2h {command}", where=samples)
    algo, questions, answers = settings["algo"], settings["questions"], settings["answers"]
    prm = algo == "dpo" or (algo != "rest-em" and settings["shaping"] != "none")
    if answers == "all":
        answers = questions
    checkpoint = record["counts"].get("best_step")
    return Line(_METHODS[algo], questions, answers, prm, reads_hard, checkpoint)


def add_numbers(
    lines: Sequence[Line],
    measurements: Sequence[Measurement],
    groups: Mapping[str, Bools],
    *,
    confidence: float,
) -> list[dict[str, Any]]:
    """Add intervals and paired tests against SFT to the rows; return the paper's orderings on ours.

    ``measurements``: accuracy of each row on the same problems; ``groups``: masks of easy, hard,
    all. InputError if two rows have the same key, or a group has no problem.
    """
    for key, count in Counter(line.key for line in lines).items():
        if count > 1:
            raise InputError(f"two of the samples are of: {name_of(key)}")
    for group in MAIN_GROUPS:
        if group not in groups:
            raise InputError(f"the samples answer no {group} problem, and table 5 has a column")
    by_name = {name_of(line.key): line for line in lines}
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
        rounded=False,
    )
    for m in results.metrics:
        by_name[m.method].accuracy[m.group] = (m.accuracy, m.low, m.high)
    hard = {(c.a, c.b): c for c in results.comparisons if c.group == "hard"}
    for group in MAIN_GROUPS:
        tests = [c for c in results.comparisons if (c.group, c.b) == (group, name_of(_SFT))]
        for c, p_holm in zip(tests, holm_of(test.p for test in tests), strict=True):
            by_name[c.a].against_sft[group] = (c.difference, c.p, p_holm)
    paper = paper_rows("PRM800K")
    claims = [(a, b) for a, b in _CLAIMS if (name_of(a), name_of(b)) in hard]
    tests = [hard[name_of(a), name_of(b)] for a, b in claims]
    orderings = []
    for (a, b), test, p_holm in zip(claims, tests, holm_of(test.p for test in tests), strict=True):
        verdict = "holds" if test.difference > 0 else "reversed"
        ours = {"ours": round(test.difference, 2), "p": test.p, "p_holm": p_holm}
        ours["paper"] = round(paper[a]["hard"] - paper[b]["hard"], 1)
        verdict = "not shown" if p_holm is None or p_holm >= SIGNIFICANCE else verdict
        about = {"better": test.a, "worse": test.b, "group": test.group, "family": len(tests)}
        orderings.append({**about, **ours, "verdict": verdict})
    return orderings


def name_of(key: Key) -> str:
    """The name of a row: ``PPO, all questions, easy answers, PRM``."""
    method, questions, answers, prm = key
    if method == "SFT":
        return method
    return f"{method}, {questions} questions, {answers} answers{', PRM' if prm else ''}"


def paper_rows(supervision: str) -> dict[Key, dict[str, float]]:
    """The paper's rows of training on levels 1-3: group -> accuracy in percent."""
    rows: dict[Key, dict[str, float]] = {}
    for row in paper_table(NAME):
        if (row["supervision"], row["levels"]) == (supervision, "1-3"):
            key = row["method"], row["questions"], row["answers"], row["prm"]
            rows.setdefault(key, {})[row["group"]] = row["value"]
    return rows


def as_tables(
    lines: Sequence[Line],
    orderings: Sequence[Mapping[str, Any]],
    made_at: str,
) -> tuple[list[ReportTable], list[str]]:
    """The table, the table of orderings if there are any, and the notes below them."""
    interval = f"({made_at}, intervals over problems)"
    title = f"Greedy accuracy in percent after RL {interval} beside the paper's Table 5"
    tables = [ReportTable(title, *table_rows(lines))]
    notes = [
        "reads hard: whether hard gold answers were used, in training or to choose the checkpoint, "
        "anywhere in the lineage",
        f"p: corrected by Holm for {len(lines) - 1} tests against SFT",
        "paper: easy / hard / all of Llemma 7b, PRM800K; * MetaMath, where the other has no row",
    ]
    if orderings:
        title = (
            "The paper's orderings on hard problems in this one training run (test over problems, "
            f"p: corrected by Holm for {len(orderings)} tests)"
        )
        rows = []
        for o in orderings:
            numbers = f"{o['paper']:+.1f}", f"{o['ours']:+.1f}", shown_p(o["p_holm"])
            rows.append(("", f"{o['better']} - {o['worse']}", *numbers, o["verdict"]))
        tables.append(ReportTable(title, ("", "better - worse", "paper", "ours", "p", ""), rows))
    return tables, notes


def table_rows(lines: Sequence[Line]) -> tuple[Row, list[Row]]:
    """Header and rows of the table; the paper's numbers are easy/hard/all."""
    paper = {
        key: "/".join(f"{row[group]:.1f}" for group in MAIN_GROUPS) + mark
        for supervision, mark in (("MetaMath", "*"), ("PRM800K", ""))  # the second one stands
        for key, row in paper_rows(supervision).items()
    }
    rows: list[Row] = []
    for line in lines:
        about = line.method, line.questions, line.answers, "yes" if line.prm else "no"
        intervals = [line.accuracy[group] for group in MAIN_GROUPS]
        accuracy = [f"{mean:.1f} ({low:.0f}-{high:.0f})" for mean, low, high in intervals]
        sft = line.against_sft.get("hard")
        against_sft = f"{sft[0]:+.1f} ({shown_p(sft[2])})" if sft else ""
        rows.append((*about, *accuracy, against_sft, paper.get(line.key, "-"), line.reads_hard))
    ours = ("method", "data", "answers", "PRM", *MAIN_GROUPS, "hard - SFT (p)")
    return (*ours, "paper", "reads hard"), rows


def as_json(lines: Sequence[Line], orderings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table for results.json."""
    return {"rows": [asdict(line) for line in lines], "orderings": list(orderings)}
