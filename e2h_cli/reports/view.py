"""A table or figure of the paper: its cells, and the paper's claims, over one run or several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from e2h_cli.evaluation import statistics
from e2h_cli.evaluation.statistics import MIN_TESTED
from e2h_cli.reports.paper_numbers import paper_table
from e2h_cli.reports.results import SIGNIFICANCE, holm_of
from e2h_cli.reports.spec import PAPER_NAMES, REWARD_FACETS, Claim, ReportSpec, Selection
from e2h_cli.reports.tidy_metrics import Metrics, ProblemAccuracy, Row, paired, uses_scores

CONFIDENCE = 0.95
# Metrics that are means over problems.
TESTED_OVER_PROBLEMS = ("accuracy", "average accuracy", "agreement")


@dataclass(frozen=True, slots=True)
class Run:
    """What one training run has measured for a view."""

    seed: int
    metrics: Metrics
    problems: ProblemAccuracy


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure over all runs, and the paper's.

    Attributes:
        values: of each run that has it, in percent, or a share for other metrics.
        low, high: of one run the interval over problems, of several the t interval over runs.
        n: number of samples per problem; None where that is not a matter of samples.
        paper: the paper's number, or None.
    """

    values: tuple[float, ...]
    low: float | None
    high: float | None
    n: int | None
    paper: float | None

    @property
    def mean(self) -> float | None:
        """Over the runs; None where no run has it."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over runs; None for less than two."""
        spread = statistics.mean_and_spread(self.values)
        return None if spread is None else spread.sd


def cell(runs: Sequence[Run], spec: ReportSpec, selection: Selection) -> Cell:
    """The figure of a selection, on top of what all cells of the view have."""
    chosen = {**spec.where, **selection}
    rows = [row for run in runs if (row := run.metrics.cell(chosen)) is not None]
    paper = paper_value(spec, chosen)
    return cell_of(rows, paper)


def cell_of(rows: Sequence[Row], paper: float | None = None) -> Cell:
    """The cell of the row of each run; without rows it is empty."""
    if not rows:
        return Cell((), None, None, None, paper)
    values = tuple(row["value"] for row in rows)
    spread = statistics.mean_and_spread(values)
    low, high = (spread.low, spread.high) if spread else (rows[0]["low"], rows[0]["high"])
    return Cell(values, low, high, rows[0]["n"], paper)


@cache
def _paper_rows(name: str) -> dict[Any, list[Row]]:
    """The rows of a table by their group: a table has thousands, and a view asks hundreds of times.

    A table without that column has all of its rows under ``""``.
    """
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in paper_table(name):
        known = {k: "" if v is None else v for k, v in row.items()}
        found[known.get("group", "")].append(known)
    return found


def paper_series(spec: ReportSpec, chosen: Selection) -> list[Row]:
    """The paper's rows of a selection, by n.

    A curve that several figures show is under the first, and where two print other numbers, under
    both: those of the figure in ``paper_where`` are taken, else those of the first.
    """
    if not spec.paper:
        return []
    wanted = {"group": "all", "metric": "accuracy", **chosen}
    if not uses_scores(wanted):
        wanted |= dict.fromkeys(REWARD_FACETS, "")
    wanted = {k: PAPER_NAMES.get(k, {}).get(str(v), v) for k, v in wanted.items()}
    wanted |= spec.paper_where
    skipped = ("n", "aggregate", "figure")
    table = _paper_rows(spec.paper)
    rows = [
        row
        for group in dict.fromkeys((wanted["group"], ""))
        for row in table.get(group, ())
        if all(row[k] == v for k, v in wanted.items() if k in row and k not in skipped)
    ]
    figures = [row.get("figure") for row in rows]
    if rows and (figure := wanted.get("figure")) not in figures:
        figure = figures[0]
    rows = [row for row in rows if row.get("figure") == figure]
    return sorted(rows, key=lambda row: row["n"] or 0)


def paper_value(spec: ReportSpec, chosen: Selection) -> float | None:
    """The paper's number: at the wanted n, else at its largest; None where it has none."""
    rows = paper_series(spec, chosen)
    if "n" in chosen:
        rows = [row for row in rows if row["n"] == chosen["n"]]
    facets = {tuple(v for k, v in row.items() if k not in ("n", "value")) for row in rows}
    return float(rows[-1]["value"]) if len(facets) == 1 else None


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim of the paper on our numbers.

    Attributes:
        differences: better - worse in percentage points, of each run.
        p: paired test over problems (one run) or over runs; None where there was none.
        p_holm: corrected for all claims of the view; ``family`` is their number.
        paper: the paper's difference.
        verdict: "holds", "reversed", "not shown", "not measured".
    """

    claim: Claim
    group: str
    differences: tuple[float, ...]
    low: float | None
    high: float | None
    p: float | None
    paper: float | None
    p_holm: float | None = None
    family: int = 0
    verdict: str = ""

    @property
    def mean(self) -> float | None:
        """Mean difference over the runs."""
        return sum(self.differences) / len(self.differences) if self.differences else None


def check_claims(runs: Sequence[Run], spec: ReportSpec) -> list[Checked]:
    """All claims of a view, with Holm's correction over those that were tested."""
    measured = [_measure(runs, spec, claim) for claim in spec.claims]
    # Closeness is shown by an interval, not by the test of a difference.
    tested = [None if one.claim.within else one.p for one in measured]
    corrected = holm_of(tested)
    family = sum(p is not None for p in corrected)
    return [
        replace(one, p_holm=p_holm, family=family, verdict=one.verdict or _verdict(one, p_holm))
        for one, p_holm in zip(measured, corrected, strict=True)
    ]


def _measure(runs: Sequence[Run], spec: ReportSpec, claim: Claim) -> Checked:
    """A claim with its differences; its verdict, where no test of means gives it."""
    shared = {**spec.where, **claim.where}
    sides = [{**shared, **side} for side in (claim.better, claim.worse)]
    group = " and ".join(dict.fromkeys(str(side.get("group", "all")) for side in sides))
    theirs = [paper_value(spec, side) for side in sides]
    paper = None if None in theirs else round((theirs[0] or 0) - (theirs[1] or 0), 2)
    found = [
        (run, a, b)
        for run in runs
        if (a := run.metrics.cell(sides[0])) and (b := run.metrics.cell(sides[1]))
    ]
    differences = tuple(round(a["value"] - b["value"], 4) for _, a, b in found)
    low = high = p = None
    verdict = ""
    if len(found) > 1:
        ours = [a["value"] for _, a, _ in found], [b["value"] for _, _, b in found]
        spread = statistics.mean_and_spread(differences)
        test = statistics.paired_test_over_runs(*ours)
        low, high = (spread.low, spread.high) if spread else (None, None)
        p = None if test is None else test.p
    elif found and found[0][1]["metric"] in TESTED_OVER_PROBLEMS:
        run, a, b = found[0]
        low, high, p = _test_over_problems(run, a, b)
    elif found and not claim.within:
        verdict = _apart(found[0][1], found[0][2])
    return Checked(claim, group, differences, low, high, p, paper, verdict=verdict)


def _apart(a: Row, b: Row) -> str:
    """The verdict where the intervals of a and b do not overlap; empty where they do.

    A test of metrics that are no means over problems; two intervals of 95 % that do not overlap
    are apart at p < 0.01.
    """
    if None in (a["low"], b["low"]):
        return ""
    if a["low"] > b["high"]:
        return "holds (intervals apart)"
    return "reversed (intervals apart)" if b["low"] > a["high"] else ""


def _test_over_problems(
    run: Run, a: Mapping[str, Any], b: Mapping[str, Any]
) -> tuple[float | None, float | None, float | None]:
    """Interval in points and p-value of a - b, where both are on the same problems."""
    if a["group"] != b["group"]:
        return None, None, None
    of_a, of_b = paired(run.problems.of(a), run.problems.of(b))
    if len(of_a) < MIN_TESTED:
        return None, None, None
    test = statistics.compare(of_a, of_b, CONFIDENCE)
    return 100 * test.low, 100 * test.high, test.p


def _verdict(one: Checked, p_holm: float | None) -> str:
    mean, within = one.mean, one.claim.within
    if mean is None:
        return "not measured"
    if within is not None:
        if one.low is None or one.high is None:
            return "not shown"
        if -within <= one.low and one.high <= within:
            return "holds"
        return "reversed" if one.low > within or one.high < -within else "not shown"
    if p_holm is None or p_holm >= SIGNIFICANCE:
        return "not shown"
    return "holds" if mean > 0 else "reversed"
