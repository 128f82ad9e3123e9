"""Figures of the paper, from plain data: a grid of panels with lines, bars, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.evaluation.statistics import Floats
from e2h_cli.reports.figure_style import (
    LOOKS,
    blank_figure,
    legend_above,
    light_grid,
    look_numbers,
    new_figure,
    save_figure,
    wrapped,
)

# Inches: the widths of a page with one column, and the height of its text.
_WIDTHS = {1: 3.6, 2: 5.5, 3: 6.8}
_WIDEST, _HIGHEST = 7.5, 9.2
_OURS: dict[str, Any] = {"lw": 1.3, "ms": 3.2, "mew": 0.6}
_PAPER: dict[str, Any] = {"ls": (0, (3.5, 1.8)), "lw": 0.9, "alpha": 0.75}
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oooo", "----")

# Arguments of matplotlib.
_Look = dict[str, Any]
# Name, value, and the ends of its interval or None.
Bar = tuple[str, float, float | None, float | None]
# Name, false positive rate, true positive rate, area under the curve.
RocLine = tuple[str, Floats, Floats, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line and the paper's own, which is dashed; either may have no points.

    ``name``: of the legend; it has the same look in every panel. ``low``, ``high``: the ends of
    the interval at each x, or nothing.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    paper_x: Sequence[float] = ()
    paper_y: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A title, and the lines under it."""

    title: str
    lines: Sequence[Line]


def plot_panels(
    panels: Sequence[Sequence[Panel]],
    target: Path,
    *,
    x_label: str,
    y_label: str,
    log2: bool = True,
    note: str,
    paper_label: str = "",
    row_titles: Sequence[str] = (),
    y_range: tuple[float, float] | None = None,
    most_columns: int = 5,
) -> list[Path]:
    """Rows of panels with one legend; returns the PNG and the SVG file.

    Rows may differ in length; one with over ``most_columns`` panels goes on in the next line. x is
    N, on a logarithmic scale with powers of two, or (``log2=False``) whole numbers. The panels of a
    row have one y range if it suits them all; ``y_range``: the same for all panels.
    ``target``: path without suffix. InputError for more names than there are looks.
    """
    lines = [line for row in panels for panel in row for line in panel.lines]
    looks = _looks([line.name for line in lines], paper=any(len(line.paper_x) for line in lines))
    cells, depth, columns = _cells(panels, row_titles, y_range, most_columns)
    width = _WIDTHS.get(columns, _WIDEST)
    height = min(0.45 + 0.8 * width / columns, 2.4, (_HIGHEST - 0.9) / depth)
    size = 9 if columns < 4 else 8
    xs = [x for line in lines for x in (*line.x, *line.paper_x)]
    ticks = _ticks(xs, log2, 6 if columns < 5 else 4)
    lowest = {column: line for line, column in sorted(cells)}
    with blank_figure(width, depth * height + 0.9) as figure:
        # A figure inside: its labels stand above the note.
        body = figure.subfigures()
        axes = body.subplots(depth, columns, squeeze=False)
        for place in np.ndindex(axes.shape):
            axis, cell, above = axes[place], cells.get(place), cells.get((place[0] - 1, place[1]))
            if cell is None:
                axis.set_visible(False)
                continue
            _draw(axis, cell.panel.lines, looks)
            if above is None or above.panel.title != cell.panel.title:
                title = wrapped(cell.panel.title, width / columns - 0.2, size)
                axis.set_title(title, fontsize=size)
            if cell.row_title:
                label = wrapped(cell.row_title, height - 0.3, size)
                axis.set_ylabel(label, fontsize=size, fontweight="bold")
            _label_x(axis, ticks, log2)
            axis.set_ylim(cell.y_range)
            axis.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
            axis.tick_params(
                labelsize=size - 1,
                labelbottom=place[0] == lowest[place[1]],
                labelleft=cell.y_labels,
            )
            light_grid(axis)
        body.supxlabel(x_label, fontsize=size)
        body.supylabel(y_label, fontsize=size)
        legend_above(figure, _legend(lines, looks, paper_label))
        return save_figure(figure, target, note)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A panel at its place in the grid."""

    panel: Panel
    row_title: str
    y_range: tuple[float, float] | None
    y_labels: bool


def _cells(
    panels: Sequence[Sequence[Panel]],
    row_titles: Sequence[str],
    y_range: tuple[float, float] | None,
    most_columns: int,
) -> tuple[dict[tuple[int, ...], _Cell], int, int]:
    """Panels by line and column of the grid; the number of lines and of columns."""
    longest = max(len(row) for row in panels)
    columns = ceil(longest / ceil(longest / most_columns))
    cells: dict[tuple[int, ...], _Cell] = {}
    line = 0
    for row, title in zip(panels, row_titles or [""] * len(panels), strict=True):
        ranges = [y_range] * len(row) if y_range else _y_ranges(row)
        shared = len(set(ranges)) == 1
        for i, (panel, limits) in enumerate(zip(row, ranges, strict=True)):
            first = i % columns == 0
            place = line + i // columns, i % columns
            cells[place] = _Cell(panel, title if first else "", limits, first or not shared)
        line += ceil(len(row) / columns)
    return cells, line, columns


def _y_ranges(row: Sequence[Panel]) -> list[tuple[float, float] | None]:
    """The y range of each panel: that of all if each uses half of it, else its own."""
    own = []
    for panel in row:
        values = [
            v for line in panel.lines for v in (*line.y, *line.low, *line.high, *line.paper_y)
        ]
        finite = [v for v in values if np.isfinite(v)]
        own.append((min(finite), max(finite)) if finite else None)
    spans = [span for span in own if span]
    if not spans:
        return [None] * len(row)
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    if all(2 * (b - a) >= high - low for a, b in spans):
        own = [(low, high)] * len(row)
    return [
        span and (span[0] - 0.05 * _height(span), span[1] + 0.05 * _height(span)) for span in own
    ]


def _height(span: tuple[float, float]) -> float:
    return (span[1] - span[0]) or 1.0


def _looks(names: Sequence[str], *, paper: bool) -> dict[str, _Look]:
    """Name -> colour, marker and line style.

    Lines are solid, as dashes are the paper's; only many lines without the paper's have dashes.
    """
    numbers = look_numbers(names)
    solid = paper or len(numbers) <= 4
    looks = {}
    for name, number in numbers.items():
        colour, style, marker = LOOKS[number]
        looks[name] = {"color": colour, "ls": "-" if solid else style, "marker": marker}
    return looks


def _draw(axis: Any, lines: Sequence[Line], looks: Mapping[str, _Look]) -> None:
    faint = min(0.13, 0.4 / max(1, len(lines)))
    for line in lines:
        colour = looks[line.name]["color"]
        if len(line.low):
            axis.fill_between(line.x, line.low, line.high, color=colour, alpha=faint, lw=0)
        if len(line.paper_x):
            axis.plot(line.paper_x, line.paper_y, color=colour, **_PAPER)
        if len(line.x):
            axis.plot(line.x, line.y, **looks[line.name], **_OURS)


def _legend(lines: Sequence[Line], looks: Mapping[str, _Look], paper_label: str) -> list[Any]:
    """One handle per name, and one for all curves of the paper."""
    from matplotlib.lines import Line2D

    ours = {line.name for line in lines if len(line.x)}
    handles = []
    for name, look in looks.items():
        drawn = look | _OURS if name in ours else {"color": look["color"]} | _PAPER
        handles.append(Line2D([], [], **drawn, label=name))
    if paper_label and any(len(line.paper_x) for line in lines):
        handles.append(Line2D([], [], **(_PAPER | {"color": "0.4", "alpha": 1}), label=paper_label))
    return handles


def _ticks(xs: Sequence[float], log2: bool, most: int) -> tuple[list[float], list[float]]:
    """Powers of two, or whole numbers, within the data: at most ``most`` with a label, and all.

    The first has a label, and where the distances allow it, the last.
    """
    if not xs:
        return [], []
    low, high = (np.log2(end) if log2 else end for end in (min(xs), max(xs)))
    whole = range(ceil(low), floor(high) + 1)
    span = max(1, len(whole) - 1)
    step = ceil(span / (most - 1))
    step = next((wider for wider in (step, step + 1) if span % wider == 0), step)
    every = [2.0**i if log2 else float(i) for i in whole] or [min(xs)]
    return every[::step], every


def _label_x(axis: Any, ticks: tuple[Sequence[float], Sequence[float]], log2: bool) -> None:
    with_label, every = ticks
    if log2:
        axis.set_xscale("log", base=2)
        axis.set_xticks(every, [""] * len(every), minor=True)
    axis.set_xticks(with_label, [f"{tick:g}" for tick in with_label])


def plot_bars(
    groups: Sequence[tuple[str, Sequence[Bar]]], target: Path, *, y_label: str, note: str
) -> list[Path]:
    """Groups of bars with intervals and values; returns the PNG and the SVG file.

    ``groups``: names and their bars; bars of one name have one look. ``target``: path without
    suffix.
    """
    from matplotlib.patches import Patch

    numbers = look_numbers([name for _, bars in groups for name, *_ in bars])
    styles: dict[str, _Look] = {
        name: {"facecolor": LOOKS[number][0], "hatch": _HATCHES[number], "edgecolor": "white"}
        for name, number in numbers.items()
    }
    most = max(len(bars) for _, bars in groups)
    thick = 0.84 / most
    width = min(max(1.0 + 0.36 * len(groups) * (most + 0.5), 3.6), _WIDEST)
    with blank_figure(width, 2.9) as figure:
        axis = figure.subplots()
        for group, (_, bars) in enumerate(groups):
            for i, (name, value, low, high) in enumerate(bars):
                x = group + (i - (len(bars) - 1) / 2) * thick
                axis.bar(x, value, 0.92 * thick, **styles[name])
                if low is not None and high is not None:
                    ends = [[max(0, value - low)], [max(0, high - value)]]
                    axis.errorbar(x, value, ends, ecolor="0.2", elinewidth=0.8, capsize=2)
                top = value if high is None else high
                axis.annotate(
                    f"{value:.1f}", (x, top), (0, 2), textcoords="offset points",
                    ha="center", va="bottom", fontsize=7,
                )  # fmt: skip
        axis.margins(y=0.1)
        room = 0.95 * (width - 0.7) / len(groups)
        axis.set_xticks(range(len(groups)), [wrapped(name, room, 9) for name, _ in groups])
        axis.tick_params(axis="x", length=0)
        axis.set_ylabel(y_label)
        light_grid(axis)
        legend_above(figure, [Patch(**style, label=name) for name, style in styles.items()])
        return save_figure(figure, target, note)


def plot_roc(
    panels: Sequence[tuple[str, Sequence[RocLine]]], target: Path, *, note: str
) -> list[Path]:
    """ROC curves, one panel per item; returns the PNG and the SVG file.

    ``panels``: titles and their lines; a line without points has one kind of items alone.
    ``target``: path without suffix.
    """
    numbers = look_numbers([name for _, lines in panels for name, *_ in lines])
    with new_figure(len(panels), 3.1, 3.3) as (figure, axes):
        for axis, (title, lines) in zip(axes, panels, strict=True):
            for name, x, y, area in lines:
                colour, style, _ = LOOKS[numbers[name]]
                look = {"color": colour, "ls": style, "lw": 1.4}
                axis.plot(x, y, **look, label=f"{name}, {auc_label(area)}")
            axis.set(title=title, xlabel="False positive rate", ylabel="True positive rate")
            unit_square(axis, "lower right")
        return save_figure(figure, target, note)


def auc_label(area: float) -> str:
    """The AUC with two decimals; NaN is that of items of one kind."""
    return "only one kind" if np.isnan(area) else f"AUC {area:.2f}"


def unit_square(axis: Any, legend_corner: str) -> None:
    """Both axes from 0 to 1, the diagonal, and a legend."""
    axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set(xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    light_grid(axis, "both")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc=legend_corner, handlelength=2.4, framealpha=0.8, edgecolor="none")
