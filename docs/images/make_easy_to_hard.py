"""Draw the README's picture: the idea, and accuracy against N on hard problems.

    python docs/images/make_easy_to_hard.py

Reads easy-to-hard.csv, the rows of the hard problems in ``results.json`` of the runs of
``e2h run quickstart --seeds 3,4,5,6,7``, and writes easy-to-hard.png and .svg beside it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FOLDER = Path(__file__).parent
NAME = "easy-to-hard"
NOTE = "tiny scale, 200 hard problems; mean of five training runs, thin lines: each run"

# method -> label, colour, line width, and points that the label is above the line's end
LINES: dict[str, tuple[str, str, float, int]] = {
    "pass": ("pass@N", "#8a8a8a", 1.4, 0),
    "weighted-voting": ("weighted voting", "#c2410c", 2.8, 0),
    "best-of-n": ("best-of-n", "#0f766e", 1.8, 4),
    "majority": ("majority voting", "#1d4ed8", 1.8, -2),
}
EASY, HARD, INK = "#e8f1e4", "#fdeede", "#222222"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "e2h",  # the same numbers give the same file
}


def read_curves() -> dict[str, dict[int, list[float]]]:
    """Method -> N -> accuracy of each run, in percent."""
    curves: dict[str, dict[int, list[float]]] = {}
    with (FOLDER / f"{NAME}.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            of_method = curves.setdefault(row["method"], {})
            of_method.setdefault(int(row["n"]), []).append(float(row["accuracy"]))
    return curves


def draw_idea(axes: Any) -> None:
    """Train on easy problems, use on hard ones; coordinates are 0 to 1."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    _band(axes, 0.66, 0.34, EASY, "Train on easy problems", "levels 1-3, with solutions", 0.95)
    _band(axes, 0.0, 0.53, HARD, "Use on hard problems", "levels 4-5, questions only", 0.05)
    left, right = 0.25, 0.75
    _box(axes, (left, 0.78), "Generator", "fine-tuned")
    _box(axes, (right, 0.78), "Reward model", "trained on step labels")
    _box(axes, (left, 0.43), "N solutions", "of every problem")
    _box(axes, (right, 0.43), "N scores", "one per solution")
    _box(axes, (0.5, 0.19), "Vote", "weighted by the scores: one answer", width=0.66)
    _arrow(axes, (left, 0.70), (left, 0.51), "sample", (-0.02, "right"))
    _arrow(axes, (right, 0.70), (right, 0.51), "rescore", (0.02, "left"))
    _arrow(axes, (left + 0.21, 0.43), (right - 0.21, 0.43))
    _arrow(axes, (left, 0.35), (left + 0.12, 0.27))
    _arrow(axes, (right, 0.35), (right - 0.12, 0.27))


def _band(
    axes: Any, bottom: float, height: float, colour: str, title: str, about: str, y: float
) -> None:
    shape = "round,pad=0,rounding_size=0.02"
    axes.add_patch(FancyBboxPatch((0, bottom), 1, height, shape, fc=colour, ec="none"))
    axes.text(0.03, y, title, va="center", size=12, weight="bold", color=INK)
    axes.text(0.97, y, about, va="center", ha="right", size=11, color=INK)


def _box(
    axes: Any, centre: tuple[float, float], title: str, about: str, width: float = 0.42
) -> None:
    x, y = centre
    corner = (x - width / 2, y - 0.08)
    shape = "round,pad=0,rounding_size=0.02"
    axes.add_patch(FancyBboxPatch(corner, width, 0.16, shape, fc="white", ec=INK, lw=1))
    axes.text(x, y + 0.032, title, ha="center", va="center", size=12.5, weight="bold", color=INK)
    axes.text(x, y - 0.037, about, ha="center", va="center", size=11, color=INK)


def _arrow(
    axes: Any,
    start: tuple[float, float],
    end: tuple[float, float],
    label: str = "",
    side: tuple[float, str] = (0, "center"),
) -> None:
    style = "-|>,head_length=6,head_width=3"
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle=style, shrinkA=0, shrinkB=0, color=INK, lw=1.4)
    )
    if label:
        x = start[0] + side[0]
        axes.text(x, 0.595, label, ha=side[1], va="center", size=12, style="italic", color=INK)


def draw_curves(axes: Any) -> None:
    """Accuracy on hard problems against the number of solutions: the mean, and every run."""
    for method, values in read_curves().items():
        label, colour, width, shift = LINES[method]
        ns = list(values)
        accuracy = [sum(runs) / len(runs) for runs in values.values()]
        dashes = "--" if method == "pass" else "-"
        axes.plot(ns, list(values.values()), dashes, color=colour, lw=0.7, alpha=0.45)
        axes.plot(ns, accuracy, dashes, color=colour, lw=width, marker="o", ms=4)
        axes.annotate(
            f"{label}\n{accuracy[-1]:.1f} %",
            (ns[-1], accuracy[-1]),
            xytext=(9, shift),
            textcoords="offset points",
            va="bottom" if shift > 0 else "top" if shift < 0 else "center",
            color=colour,
            size=11.5,
            weight="bold" if method == "weighted-voting" else "normal",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(ns, [f"{n:.0f}" for n in ns])
    axes.set(xlim=(0.9, 70), ylim=(30, 101), xlabel="N solutions of every problem")
    axes.set_title("Accuracy on hard problems, %", loc="left", size=12.5, weight="bold", color=INK)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def main() -> None:
    """Write the PNG and the SVG."""
    with mpl.rc_context(STYLE):
        drawing, (idea, curves) = plt.subplots(
            1, 2, figsize=(11, 5), width_ratios=(1.0, 0.85), layout="constrained"
        )
        drawing.get_layout_engine().set(wspace=0.06)
        draw_idea(idea)
        draw_curves(curves)
        drawing.supxlabel(NOTE, x=0.985, ha="right", size=10.5, color="0.35")
        drawing.savefig(FOLDER / f"{NAME}.png", dpi=160, facecolor="white")
        drawing.savefig(FOLDER / f"{NAME}.svg", facecolor="white", metadata={"Date": None})
        plt.close(drawing)


if __name__ == "__main__":
    main()
