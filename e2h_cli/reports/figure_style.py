"""Fonts, colours and files of all figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import make_folder

# By Okabe and Ito, but for the last: distinct for colour-blind readers.
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_ORANGE, _SKY, _BLACK, _BROWN = "#E69F00", "#56B4E9", "#000000", "#7F4F24"
# Colour, line style and marker of each line of a figure; the last two for readers in grey.
LOOKS: tuple[tuple[str, Any, str], ...] = (
    (BLUE, "-", "o"),
    (RED, "--", "s"),
    (GREEN, "-.", "^"),
    (PINK, ":", "D"),
    (_BLACK, (0, (6, 1)), "X"),
    (_ORANGE, (0, (3, 1, 1, 1)), "v"),
    (_SKY, (0, (1, 1)), "P"),
    (_BROWN, (0, (3, 1, 1, 1, 1, 1)), "*"),
)
# These have the first looks in every figure.
METHOD_NAMES = {
    "majority": "Majority voting",
    "weighted-voting": "Weighted voting",
    "best-of-n": "Best-of-n",
}
# Letters of font size 1 that fit into an inch, about.
_LETTERS = 140
_RC_PARAMS = {
    # As Times; the second has what the first lacks. Both come with matplotlib.
    "font.family": ["STIXGeneral", "DejaVu Serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "e2h",  # the same figure gives the same file
}


def look_numbers(names: Sequence[str]) -> dict[str, int]:
    """Name -> number of its look, in the order of the names; methods have theirs in every figure.

    InputError for more names than there are looks.
    """
    names = list(dict.fromkeys(names))
    if len(names) > len(LOOKS):
        shown = ", ".join(names)
        raise InputError(
            f"a figure has at most {len(LOOKS)} names in its legend, not {len(names)}: {shown}",
            hint="choose fewer",
        )
    fixed = {name: i for i, name in enumerate(METHOD_NAMES.values()) if name in names}
    free = (i for i in range(len(LOOKS)) if i not in fixed.values())
    return {name: fixed[name] if name in fixed else next(free) for name in names}


@contextmanager
def blank_figure(width: float, height: float) -> Iterator[Any]:
    """A figure in our style; width and height in inches. It must be saved in the context."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC_PARAMS):
        yield Figure(figsize=(width, height), layout="constrained")


@contextmanager
def new_figure(panels: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure and ``panels`` axes side by side; width (of each) and height in inches."""
    with blank_figure(width * panels, height) as figure:
        yield figure, figure.subplots(1, panels, squeeze=False)[0]


def save_figure(figure: Any, target: Path, note: str) -> list[Path]:
    """Write ``target`` (a path without suffix) as PNG and SVG, with a note under the panels."""
    figure.supxlabel(wrapped(note, figure.get_figwidth(), 7), fontsize=7, color="0.4")
    make_folder(target.parent)
    png, svg = (target.with_name(target.name + suffix) for suffix in (".png", ".svg"))
    figure.savefig(png, dpi=200)
    figure.savefig(svg, dpi=200, metadata={"Date": None})
    return [png, svg]


def wrapped(text: str, width: float, size: float) -> str:
    """The text in lines of at most ``width`` inches, about, in letters of this font size."""
    return fill(text, max(8, int(width * _LETTERS / size)), break_on_hyphens=False)


def legend_above(figure: Any, handles: Sequence[Any]) -> None:
    """One legend for all panels, in as few rows as fit, read row by row."""
    for rows in range(1, len(handles) + 1):
        columns = -(-len(handles) // rows)
        # matplotlib fills a legend column by column.
        ordered = [handle for column in range(columns) for handle in handles[column::columns]]
        legend = figure.legend(
            handles=ordered, ncols=columns, loc="outside upper center", frameon=False,
            handlelength=2.4, columnspacing=1.4,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def light_grid(axis: Any, which: str = "y") -> None:
    """A light grid behind the data."""
    axis.grid(axis=which, color="0.9", lw=0.6)
    axis.set_axisbelow(True)
