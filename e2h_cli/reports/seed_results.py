"""The results of one recipe over several seeds: mean, spread, and tests whose unit is the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json, write_json
from e2h_cli.evaluation import statistics
from e2h_cli.reports.result_files import RESULTS, read_results, write_tables
from e2h_cli.reports.results import (
    BY,
    MAIN_GROUPS,
    holm_of,
    is_main,
    label,
    main_metrics,
    main_names,
    several_reward_models,
    shown_p,
    significant,
)
from e2h_cli.reports.tables import ReportTable


@dataclass(frozen=True, slots=True)
class SeedValues:
    """A figure of every run, in percent, and its mean, standard deviation and t interval.

    ``name`` is a method, or "a - b"; for differences ``p`` is that of a paired t-test over runs,
    and ``p_holm`` corrected for the ``family`` of all differences. None where there is none.
    """

    group: str
    name: str
    values: list[float]
    mean: float
    sd: float
    low: float
    high: float
    p: float | None = None
    p_holm: float | None = None
    family: int = 0


@dataclass(frozen=True, slots=True)
class SeedResults:
    """Accuracy of every method, and differences of methods, over runs with different seeds.

    ``origin``: where the scores are from (``ScoreOrigin.name``); empty where runs differ in it.
    """

    seeds: list[int]
    made_at: str
    accuracy: list[SeedValues]
    differences: list[SeedValues]
    origin: str = ""

    @property
    def finding(self) -> str:
        """One sentence on weighted voting on hard problems; empty where it was not measured."""
        hard = {one.name: one for one in self.accuracy if one.group == "hard"}
        for one in self.differences:
            a, _, b = one.name.partition(" - ")
            if one.group == "hard" and a.startswith("weighted-voting") and b == "majority":
                above = sum(value > 0 for value in one.values)
                return (
                    f"Over {len(one.values)} training runs ({self.made_at}), voting weighted by "
                    f"{self.origin or 'scores of different origin'} solves {hard[a].mean:.1f} % of "
                    f"the hard problems against {hard[b].mean:.1f} % by majority: {one.mean:+.1f} "
                    f"points ({one.low:+.1f} to {one.high:+.1f} over runs, p "
                    f"{shown_p(one.p, '= ')}, corrected {shown_p(one.p_holm, '= ')}), above it in "
                    f"{above} of {len(one.values)} runs."
                )
        return ""


@dataclass(frozen=True, slots=True)
class _Run:
    """Accuracy of one run by (group, method), and the contrasts of methods that it tests."""

    accuracy: dict[tuple[str, str], float]
    contrasts: list[tuple[str, str, str]]
    origin: str = ""


def over_seeds(folders: Mapping[int, Path], made_at: str) -> SeedResults:
    """Put the results of finished run folders, by seed, together.

    Methods that not every run has are left out.

    Raises:
        InputError: fewer than two runs, or a run has no results.
    """
    if len(folders) < 2:
        raise InputError("one run has no spread", hint="give several seeds, as --seeds 3,4,5")
    runs = [_read(folder) for folder in folders.values()]
    first = runs[0]
    accuracy = [
        _values(*key, [run.accuracy[key] for run in runs])
        for key in sorted(first.accuracy, key=lambda key: MAIN_GROUPS.index(key[0]))
        if all(key in run.accuracy for run in runs)
    ]
    known = {(one.group, one.name): one.values for one in accuracy}
    differences = [
        _difference(group, a, b, known[group, a], known[group, b])
        for group, a, b in dict.fromkeys(first.contrasts)
        if (group, a) in known and (group, b) in known
    ]
    origins = {run.origin for run in runs}
    origin = origins.pop() if len(origins) == 1 else ""
    return SeedResults(list(folders), made_at, accuracy, _with_holm(differences), origin)


def _read(folder: Path) -> _Run:
    if not (folder / RESULTS).is_file():
        message = "no results here"
        raise InputError(message, where=folder, hint="the recipe needs an eval stage")
    about = read_json(folder / RESULTS)
    results = read_results(folder)
    shown = [m for m in main_metrics(results.metrics) if m.group in MAIN_GROUPS]
    several = several_reward_models(shown)
    largest: dict[tuple[str, str], tuple[int, float]] = {}
    for m in shown:
        key = m.group, label(m) + (BY + m.reward_model if several and m.reward_model else "")
        largest[key] = max(largest.get(key, (0, 0.0)), (m.n, m.accuracy))
    names = main_names(results.metrics)
    tested = [c for c in results.comparisons if c.group in MAIN_GROUPS and is_main(c, names)]
    return _Run(
        {key: value for key, (_, value) in largest.items()},
        [(c.group, c.a, c.b) for c in tested],
        " and ".join(sorted({origin["name"] for origin in about.get("origins", {}).values()})),
    )


def _values(group: str, name: str, values: Sequence[float]) -> SeedValues:
    spread = statistics.mean_and_spread(values)
    assert spread is not None  # there are two runs
    numbers = {key: round(value, 2) for key, value in asdict(spread).items()}
    return SeedValues(group, name, [round(value, 2) for value in values], **numbers)


def _difference(
    group: str, a: str, b: str, of_a: Sequence[float], of_b: Sequence[float]
) -> SeedValues:
    values = _values(group, f"{a} - {b}", [x - y for x, y in zip(of_a, of_b, strict=True)])
    test = statistics.paired_test_over_runs(of_a, of_b)
    return values if test is None else replace(values, p=significant(test.p))


def _with_holm(differences: Sequence[SeedValues]) -> list[SeedValues]:
    corrected = holm_of(one.p for one in differences)
    family = sum(p is not None for p in corrected)
    return [
        one if p is None else replace(one, p_holm=significant(p), family=family)
        for one, p in zip(differences, corrected, strict=True)
    ]


def seed_tables(results: SeedResults) -> list[ReportTable]:
    """A table of the accuracy of every run, and one of the differences with their tests."""
    runs = [f"seed {seed}" for seed in results.seeds]
    title = f"Accuracy in percent of {len(runs)} training runs ({results.made_at})"
    header = ("", "method", *runs, "mean", "sd")
    rows = [
        (one.group, one.name, *(f"{v:.1f}" for v in one.values), f"{one.mean:.1f}", f"{one.sd:.1f}")
        for one in results.accuracy
    ]
    tables = [ReportTable(title, header, rows, range(2, 2 + len(runs)))]
    if results.differences:
        tests = max(one.family for one in results.differences)
        title = (
            "Differences in points (95% t intervals over training runs; p: paired t-test over "
            f"{len(runs)} runs, and corrected by Holm for {tests} tests)"
        )
        rows = [
            (
                one.group, one.name, *(f"{v:+.1f}" for v in one.values), f"{one.mean:+.1f}",
                f"{one.low:+.1f} to {one.high:+.1f}", shown_p(one.p), shown_p(one.p_holm),
            )
            for one in results.differences
        ]  # fmt: skip
        header = ("", "difference", *runs, "mean", "interval", "p", "p (Holm)")
        tables.append(ReportTable(title, header, rows, range(2, 2 + len(runs))))
    return tables


def write_seed_results(folder: Path, results: SeedResults, tables: Sequence[ReportTable]) -> None:
    """Write results.json, results.md and results.tex."""
    write_json(folder / RESULTS, {**asdict(results), "finding": results.finding})
    write_tables(folder, tables)
