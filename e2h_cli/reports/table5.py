"""Our runs beside the paper's Tables 2 and 5: reinforcement learning, greedy accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.evaluation.statistics import (
    BOOTSTRAP_DRAWS,
    bootstrap_interval,
    bootstrap_weights,
    compare,
    sign_flips,
)
from e2h_cli.pipeline.run_folder import STAGE_RECORD
from e2h_cli.reports.results import Measurement
from e2h_cli.reports.tables import MAIN_GROUPS, Row, markdown_table, print_table

NAME = "table5"
_METHODS = {"ppo": "PPO", "grpo": "GRPO", "rest-em": "ReST-EM", "dpo": "DPO"}
_BLOCKS = ("PRM800K", "MetaMath")
_SHOWN_P = 0.05

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
    """One row: what was trained on what, and its accuracy by group in percent.

    ``reads_hard``: "no", "training" or "choice" (of the checkpoint). ``accuracy``: group ->
    (mean, low, high); ``against_sft``: group -> (points, p).
    """

    method: str
    questions: str
    answers: str
    prm: bool
    reads_hard: str
    checkpoint: int | None
    accuracy: dict[str, tuple[float, float, float]]
    against_sft: dict[str, tuple[float, float]]

    @property
    def key(self) -> Key:
        """What tells rows apart."""
        return self.method, self.questions, self.answers, self.prm


@dataclass(frozen=True, slots=True)
class Origin:
    """How the model behind some samples was made."""

    key: Key
    reads_hard: str
    checkpoint: int | None


def origin(samples: Path) -> Origin:
    """The origin of the generator of a sample stage, by the records of both.

    Raises:
        InputError: it is no stage whose generator e2h has made.
    """
    try:
        model = read_json(samples / STAGE_RECORD)["inputs"]["model"][0]["path"]
        place = Path(model) if Path(model).is_absolute() else samples.parent / model
        record = read_json(place / STAGE_RECORD)
    except (InputError, KeyError, IndexError) as error:
        raise InputError(
            "nothing is known of the generator of these samples",
            where=samples,
            hint="give sample stages of the same run",
        ) from error
    if record["command"] == "sft":
        return Origin(_SFT, "no", None)
    if record["command"] != "rl":
        raise InputError(
            f"table 5 has no row for a generator made by e2h {record['command']}", where=samples
        )
    settings = record["settings"]
    algo = settings["algo"]
    scored = algo == "dpo" or (algo != "rest-em" and settings["shaping"] != "none")
    answers = settings["answers"]
    if answers == "all":
        answers = settings["questions"]
    reads = (
        "train"
        if answers in ("hard", "all")
        else "choice"
        if settings["checkpoint_rule"] == "paper"
        else "no"
    )
    key = (_METHODS[algo], settings["questions"], answers, scored)
    return Origin(key, reads, record["counts"].get("best_step"))


def lines_of(
    origins: Sequence[Origin],
    measurements: Sequence[Measurement],
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    confidence: float,
    seed: int,
) -> tuple[list[Line], list[dict[str, Any]]]:
    """Rows with intervals and paired tests against SFT, and the paper's orderings on ours.

    Args:
        origins: of the rows.
        measurements: accuracy of each row on the same problems.
        groups: masks of easy, hard, all.
        confidence: of the intervals.
        seed: of resampling.

    Raises:
        InputError: a row stands twice, or a group has no problem.
    """
    values = {o.key: m.accuracy for o, m in zip(origins, measurements, strict=True)}
    if len(values) < len(origins):
        counts = Counter(o.key for o in origins)
        raise InputError(f"two of the samples are of: {name_of(counts.most_common(1)[0][0])}")
    for group in MAIN_GROUPS:
        if group not in groups:
            raise InputError(f"the samples answer no {group} problem, and table 5 has a column")
    lines = {
        o.key: Line(*o.key, o.reads_hard, o.checkpoint, accuracy={}, against_sft={})
        for o in origins
    }
    orderings: list[dict[str, Any]] = []
    paper = paper_rows(_BLOCKS[0])
    for group in MAIN_GROUPS:
        mask = groups[group]
        rng = np.random.default_rng(seed)
        weights = bootstrap_weights(int(mask.sum()), BOOTSTRAP_DRAWS, rng)
        signs = sign_flips(int(mask.sum()), rng)
        for key, line in lines.items():
            own = values[key][mask]
            low, high = bootstrap_interval(own, weights, confidence)
            line.accuracy[group] = (100 * float(own.mean()), 100 * low, 100 * high)
            if _SFT in values and key != _SFT:
                c = compare(own, values[_SFT][mask], weights, signs, confidence)
                line.against_sft[group] = (100 * c.difference, c.p)
        for a, b in _CLAIMS if group == "hard" else ():
            if a in values and b in values:
                c = compare(values[a][mask], values[b][mask], weights, signs, confidence)
                verdict = (
                    "not shown" if c.p >= _SHOWN_P else "holds" if c.difference > 0 else "reversed"
                )
                orderings.append(
                    {
                        "better": name_of(a), "worse": name_of(b), "group": group,
                        "ours": round(100 * c.difference, 2), "p": round(c.p, 5),
                        "paper": round(paper[a]["hard"] - paper[b]["hard"], 1), "verdict": verdict,
                    }
                )  # fmt: skip
    return list(lines.values()), orderings


def name_of(key: Key) -> str:
    """A row in words: ``PPO, all questions, easy answers, PRM``."""
    method, questions, answers, prm = key
    if method == "SFT":
        return method
    return f"{method}, {questions} questions, {answers} answers{', PRM' if prm else ''}"


def paper_rows(block: str) -> dict[Key, dict[str, Any]]:
    """The paper's rows of one supervision set."""
    file = Path(__file__).parent / "paper" / "table5.yaml"
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        (r["method"], r["questions"], r["answers"], r["prm"]): r
        for r in rows
        if r["block"] == block
    }


def other_seeds(folders: Sequence[str]) -> list[dict[Key, float]]:
    """Hard accuracy by row of other run folders.

    Raises:
        InputError: a folder without such a table.
    """
    found = []
    for folder in folders:
        table = read_json(Path(folder) / "results.json").get(NAME)
        if table is None:
            raise InputError("no table 5 here", where=folder, hint="make it with: e2h run table2")
        found.append(
            {
                (r["method"], r["questions"], r["answers"], r["prm"]): r["accuracy"]["hard"][0]
                for r in table["rows"]
            }
        )
    return found


def present_table5(
    lines: Sequence[Line],
    orderings: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[Key, float]],
    scale: str,
) -> str:
    """Print the table, the orderings and what to know; return them as Markdown."""
    title = (
        f"Greedy accuracy in percent after RL ({scale} scale, ± half of the interval) beside the "
        "paper's Table 5"
    )
    header, rows = table_rows(lines, others)
    print_table(title, header, rows)
    text = f"## {title}\n\n{markdown_table(header, rows)}"
    notes = _notes(lines, orderings, others, scale)
    if orderings:
        name = "The paper's orderings on hard problems, paired test on ours"
        columns = ("", "better - worse", "paper", "ours", "p", "")
        cells: list[Row] = [
            ("", f"{o['better']} - {o['worse']}", f"{o['paper']:+.1f}", f"{o['ours']:+.1f}",
             f"{o['p']:.4f}", o["verdict"])
            for o in orderings
        ]  # fmt: skip
        print_table(name, columns, cells)
        text += f"\n## {name}\n\n{markdown_table(columns, cells)}"
    for note in notes:
        console.print(f"[dim]{note}[/dim]")
    return text + "\n" + "".join(f"* {note}\n" for note in notes)


def table_rows(
    lines: Sequence[Line], others: Sequence[Mapping[Key, float]]
) -> tuple[Row, list[Row]]:
    """Header and rows of the table."""
    blocks = [paper_rows(block) for block in _BLOCKS]
    rows: list[Row] = []
    for line in lines:
        found = next(((b, i) for i, b in enumerate(blocks) if line.key in b), None)
        theirs = "-"
        if found is not None:
            block, number = found
            theirs = "/".join(f"{block[line.key][g]:.1f}" for g in MAIN_GROUPS) + "*" * number
        own = tuple(
            f"{mean:.1f}±{(high - low) / 2:.1f}"
            for mean, low, high in (line.accuracy[g] for g in MAIN_GROUPS)
        )
        sft = line.against_sft.get("hard")
        hard = [f"{other[line.key]:.1f}" if line.key in other else "-" for other in others]
        rows.append(
            (
                line.method,
                line.questions,
                line.answers,
                "yes" if line.prm else "no",
                *own,
                f"{sft[0]:+.1f} ({sft[1]:.4f})" if sft else "",
                theirs,
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
        theirs = paper_rows(_BLOCKS[0])[_SFT]["hard"]
        notes.append(
            f"reversed: the tiny start solves {start.accuracy['hard'][0]:.0f} % of the hard "
            f"problems (paper: {theirs} %), so that right answers to learn from are plenty"
        )
    return notes


def as_json(lines: Sequence[Line], orderings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table for results.json."""
    return {"rows": [asdict(line) for line in lines], "orderings": list(orderings)}
