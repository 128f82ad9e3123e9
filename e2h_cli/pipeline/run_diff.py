"""How two runs differ: stages, settings, inputs, versions, and figures with paired tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.statistics import MIN_TESTED, compare
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.pipeline.iteration import stage_of
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import STAGE_RECORD, RunFolder, StageFolder
from e2h_cli.pipeline.run_listing import is_run
from e2h_cli.reports.results import MAIN_GROUPS, holm_of
from e2h_cli.reports.tidy_metrics import METRICS, ProblemAccuracy, Row, paired, read_metrics

_CONFIDENCE = 0.95
# Columns of a metric that are no part of what was measured.
_MEASURED = ("seed", "scale", "value", "low", "high", "problems", "grader")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: a setting, an input or a version; ``None`` where it is not there."""

    stage: str
    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of both runs, in percent, and b - a in points.

    Attributes:
        facets: of what was measured: eval stage, group, metric, method, n and so on.
        a: of the first run.
        b: of the second.
        difference: b - a.
        low: of the interval of the difference over problems; None without a test.
        high: likewise.
        p: of the paired test over problems; None where there are too few, or other problems.
        p_holm: corrected over the main figures; None for others.
        problems: that both runs have.
        main: whether a table shows it: all, easy and hard problems, the largest N, and the best
            aggregation.
    """

    facets: Mapping[str, Any]
    a: float
    b: float
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    problems: int = 0
    main: bool = False


@dataclass(frozen=True, slots=True)
class RunDiff:
    """All that differs between two runs.

    Attributes:
        only_a: stages that the first alone has.
        only_b: stages that the second alone has.
        settings: by stage.
        inputs: by stage; of a stage of the run its name, of others the path.
        versions: by stage.
        figures: of eval stages that both have, whether they differ or not.
        other_problems: eval stages whose test problems differ, so that there is no paired test.
    """

    about: tuple[Mapping[str, Any], Mapping[str, Any]]
    only_a: list[str]
    only_b: list[str]
    settings: list[Change]
    inputs: list[Change]
    versions: list[Change]
    figures: list[FigureChange]
    other_problems: list[str]


def diff_runs(a: Path, b: Path) -> RunDiff:
    """Compare two run folders.

    Raises:
        InputError: one is no run folder, or holds a damaged record.
    """
    records = [_records(folder) for folder in (a, b)]
    both = [name for name in records[0] if name in records[1]]
    pairs = {name: (records[0][name], records[1][name]) for name in both}
    figures: list[FigureChange] = []
    others = []
    for name, pair in pairs.items():
        if all(r["command"] == "eval" and r["status"] == "finished" for r in pair):
            same = _same_problems(a, b, pair)
            found = list(_figures(a / name, b / name, pair, same=same))
            figures += found
            others += [name] if found and not same else []
    return RunDiff(
        about=(RunFolder(a).about, RunFolder(b).about),
        only_a=[name for name in records[0] if name not in both],
        only_b=[name for name in records[1] if name not in both],
        settings=[change for name in both for change in _settings(name, *pairs[name])],
        inputs=[change for name in both for change in _inputs(name, *pairs[name])],
        versions=[
            change
            for name in both
            for change in _changes(name, *(record["versions"] for record in pairs[name]))
        ],
        figures=_corrected(_once(figures)),
        other_problems=others,
    )


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its record, in the order in which they were started."""
    if not is_run(folder):
        hint = "name two run folders, as runs/experiment-tiny"
        raise InputError("no run folder: it has no run.json", where=folder, hint=hint)
    stages = [path for path in folder.iterdir() if (path / STAGE_RECORD).is_file()]
    found = {path.name: StageFolder(path).record for path in stages}
    return dict(sorted(found.items(), key=lambda item: str(item[1].get("started", ""))))


def _changes(stage: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in {**a, **b}:
        if a.get(name) != b.get(name):
            yield Change(stage, name, a.get(name), b.get(name))


def _settings(stage: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    if a["command"] != b["command"]:
        yield Change(stage, "command", a["command"], b["command"])
        return
    yield from _changes(stage, _with_defaults(a), _with_defaults(b))


def _with_defaults(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a record, with defaults of those that did not exist when it was made."""
    settings = record["settings"]
    if record["command"] not in COMMANDS:
        return dict(settings)
    kind = COMMANDS[record["command"]].settings.variant_for(settings)
    return {**kind.model_validate({}).model_dump(mode="json"), **settings}


def _inputs(stage: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    """Inputs with other names, and inputs from outside of the runs with another content."""
    before, after = a["inputs"], b["inputs"]
    for name in {**before, **after}:
        sides = before.get(name, []), after.get(name, [])
        paths = [[one["path"] for one in side] for side in sides]
        if paths[0] != paths[1]:
            yield Change(stage, name, *(", ".join(side) or None for side in paths))
            continue
        for one, other in zip(*sides, strict=True):
            outside = Path(one["path"]).is_absolute()
            if outside and one["fingerprint"] != other["fingerprint"]:
                prints = (f"{side['path']} ({side['fingerprint'][:8]})" for side in (one, other))
                yield Change(stage, name, *prints)


def _same_problems(a: Path, b: Path, pair: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether two eval stages read the same test problems; ids alone do not tell."""
    found = []
    for folder, record in zip((a, b), pair, strict=True):
        given = record["inputs"].get("problems", [])
        if not given:
            return False
        maker = StageFolder(folder / stage_of(given[0]["path"])).record
        tests = maker.get("outputs", {}).get("test.jsonl")
        found.append(tests or given[0]["fingerprint"])
    return found[0] == found[1]


def _figures(
    a: Path, b: Path, pair: tuple[Mapping[str, Any], ...], *, same: bool
) -> Iterator[FigureChange]:
    """Figures of the same facets in two eval stages."""
    if not all((stage / METRICS).is_file() for stage in (a, b)):
        return
    rows, others = ({_key(row): row for row in read_metrics(stage).rows} for stage in (a, b))
    levels = [int(record["counts"].get("max_level", 0)) for record in pair]
    accuracy = [ProblemAccuracy(stage, level) for stage, level in zip((a, b), levels, strict=True)]
    both = [key for key in rows if key in others]
    largest: dict[tuple[Any, ...], int] = {}
    for key in both:
        series = _series(rows[key])
        largest[series] = max(largest.get(series, 0), rows[key]["n"] or 0)
    for key in both:
        row, other = rows[key], others[key]
        if row["value"] is None or other["value"] is None:
            continue
        facets = {"stage": a.name, "measured": row["stage"]}
        facets |= {
            name: value for name, value in key if name != "stage" and value not in ("", None)
        }
        figure = FigureChange(
            facets,
            row["value"],
            other["value"],
            other["value"] - row["value"],
            problems=min(row["problems"] or 0, other["problems"] or 0),
            main=row["group"] in MAIN_GROUPS
            and row["aggregate"] in ("", BEST_AGGREGATE.get(row["method"]))
            and (row["n"] or 0) == largest[_series(row)],
        )
        tested = same and row["metric"] == "accuracy"
        yield _tested(figure, accuracy[0].of(row), accuracy[1].of(other)) if tested else figure


def _key(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in row.items() if name not in _MEASURED))


def _series(row: Row) -> tuple[Any, ...]:
    return tuple(part for part in _key(row) if part[0] != "n")


def _tested(figure: FigureChange, a: Mapping[str, float], b: Mapping[str, float]) -> FigureChange:
    """With a paired comparison over the problems that both have."""
    after, before = paired(b, a)
    if len(after) < MIN_TESTED:
        return replace(figure, problems=len(after))
    found = compare(after, before, _CONFIDENCE)
    low, high = (100 * bound for bound in (found.low, found.high))
    return replace(figure, low=low, high=high, p=found.p, problems=len(after))


def _once(figures: Iterable[FigureChange]) -> list[FigureChange]:
    """Without figures that another eval stage has measured as well."""
    names = ("measured", "group", "metric", "method", "aggregate", "n")
    found: dict[tuple[Any, ...], FigureChange] = {}
    for figure in figures:
        found.setdefault(tuple(map(figure.facets.get, names)), figure)
    return list(found.values())


def _corrected(figures: list[FigureChange]) -> list[FigureChange]:
    """With Holm's correction over the main figures."""
    main = [i for i, figure in enumerate(figures) if figure.main]
    corrected = dict(zip(main, holm_of(figures[i].p for i in main), strict=True))
    return [replace(figure, p_holm=corrected.get(i)) for i, figure in enumerate(figures)]
