"""Plots: accuracy against N, and ROC (the paper's Figure 24) and calibration of reward models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.common.files import make_folder
from e2h_cli.evaluation.labelled_scores import LabelledScores
from e2h_cli.evaluation.rm_metrics import calibration, roc_auc, roc_curve
from e2h_cli.evaluation.statistics import Floats
from e2h_cli.reports.paper_numbers import PaperCurve
from e2h_cli.reports.results import MAIN_GROUPS, Metric, main_metrics

# By Okabe and Ito: distinct for colour-blind readers and in grey.
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

_RC_PARAMS = {
    "font.family": "serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "e2h",  # the same figure gives the same file
}
_METHODS = {
    "majority": ("Majority voting", BLUE, "o"),
    "weighted-voting": ("Weighted voting", RED, "s"),
    "best-of-n": ("Best-of-n", GREEN, "^"),
}
_TITLES = {"easy": "Easy", "hard": "Hard", "all": "All"}
# Colour, line style and marker of each curve; line styles for readers in grey.
_LINE_STYLES = ((BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PINK, ":", "D"))
_CURVE_POINTS = 400


@contextmanager
def new_figure(panels: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure and ``panels`` axes side by side; width (of each) and height in inches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with matplotlib.rc_context(_RC_PARAMS):
        figure, axes = plt.subplots(
            1, panels, figsize=(width * panels, height), squeeze=False, layout="constrained"
        )
        try:
            yield figure, axes[0]
        finally:
            plt.close(figure)


def save_figure(figure: Any, target: Path, note: str) -> list[Path]:
    """Write ``target`` (a path without suffix) as PNG and SVG, with a note under the panels."""
    figure.supxlabel(note, fontsize=7, color="0.4")
    make_folder(target.parent)
    png, svg = target.with_suffix(".png"), target.with_suffix(".svg")
    figure.savefig(png, dpi=200)
    figure.savefig(svg, dpi=200, metadata={"Date": None})
    return [png, svg]


def plot_accuracy_against_n(
    metrics: Sequence[Metric],
    target: Path,
    *,
    max_level: int,
    note: str,
    paper: Sequence[PaperCurve] = (),
) -> list[Path]:
    """Accuracy against N with intervals, one panel per group; returns the PNG and the SVG file.

    Drawn are majority, weighted voting and best-of-n, each with its first generator, reward model
    and aggregation, and dashed the curves of the paper, which must be on the same problems.
    ``target``: path without suffix; ``max_level``: the last easy level.
    """
    from matplotlib.lines import Line2D

    shown = [m for m in main_metrics(metrics) if m.method in _METHODS and m.group in MAIN_GROUPS]
    # Reversed, so that the first of each method is kept.
    first = {m.method: (m.generator, m.reward_model, m.aggregate) for m in reversed(shown)}
    shown = [m for m in shown if first[m.method] == (m.generator, m.reward_model, m.aggregate)]
    groups = [group for group in MAIN_GROUPS if any(m.group == group for m in shown)]
    ns = sorted({m.n for m in shown}.union(*(curve.accuracy for curve in paper)))
    levels = {"easy": f" (levels 1-{max_level})", "hard": f" (levels {max_level + 1}+)"}
    with new_figure(len(groups), 2.9, 2.9) as (figure, axes):
        for axis, group in zip(axes, groups, strict=True):
            for method, (name, colour, marker) in _METHODS.items():
                curve = [m for m in shown if (m.group, m.method) == (group, method)]
                curve.sort(key=lambda m: m.n)
                columns = [(m.n, m.accuracy, m.low, m.high) for m in curve]
                if not columns:
                    continue
                x, y, low, high = zip(*columns, strict=True)
                axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
                axis.plot(x, y, color=colour, marker=marker, ms=3.5, lw=1.4, label=name)
                for theirs in (c for c in paper if (c.group, c.method) == (group, method)):
                    axis.plot(*zip(*theirs.accuracy.items(), strict=True), "--", c=colour, lw=1)
            axis.set_title(_TITLES[group] + levels.get(group, ""))
            _label_n(axis, ns)
        axes[0].set_ylabel("Accuracy (%)")
        handles, _ = axes[0].get_legend_handles_labels()
        if paper:
            models = "/".join(dict.fromkeys(c.reward_model for c in paper if c.reward_model))
            label = f"Paper, Figure {paper[0].figure} ({paper[0].generator} + {models})"
            handles.append(Line2D([], [], color="0.4", ls="--", lw=1, label=label))
        legend: dict[str, Any] = {"loc": "outside upper center", "frameon": False}
        figure.legend(handles=handles, ncols=len(handles), **legend)
        return save_figure(figure, target, note)


def _label_n(axis: Any, ns: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(ns if len(ns) <= 7 else ns[::2]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("N = number of solutions per problem")
    axis.grid(axis="y", color="0.9", lw=0.6)
    axis.set_axisbelow(True)


def plot_reward_model(
    scores: Mapping[str, LabelledScores], target: Path, *, note: str
) -> list[Path]:
    """ROC and calibration of a reward model; returns the PNG and the SVG file.

    ``scores``: by name in the legend ("Steps", "Outcomes"), four at most; ValueError if there are
    none under a name, or they are not probabilities. ``target``: path without suffix.
    """
    from matplotlib.lines import Line2D

    with new_figure(2, 3.1, 3.35) as (figure, (roc, calibrated)):
        lines = []
        for items, (colour, style, marker) in zip(scores.values(), _LINE_STYLES, strict=False):
            look: dict[str, Any] = {"color": colour, "ls": style, "lw": 1.4}
            lines.append(Line2D([], [], **look))
            x, y, label = _roc(items)
            roc.plot(x, y, **look, label=label)
            # One point per bin of equal mass.
            curve = calibration(items.scores, items.right)
            points, label = (curve.mean_score, curve.share_right), f"ECE {curve.error:.2f}"
            calibrated.plot(*points, **look, marker=marker, ms=3.5, label=label)
        roc.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate")
        x_label, y_label = "Mean score of the bin", "Share that is right"
        calibrated.set(title="Calibration", xlabel=x_label, ylabel=y_label)
        for axis, corner in ((roc, "lower right"), (calibrated, "best")):
            axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
            axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            axis.set(xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
            axis.grid(color="0.9", lw=0.6)
            axis.set_axisbelow(True)
            axis.legend(loc=corner, handlelength=2.4, framealpha=0.8, edgecolor="none")
        legend: dict[str, Any] = {"loc": "outside upper center", "frameon": False}
        figure.legend(lines, list(scores), ncols=len(scores), handlelength=2.4, **legend)
        return save_figure(figure, target, note)


def _roc(items: LabelledScores) -> tuple[Floats, Floats, str]:
    """The ROC curve and its label; no points where all items are right or all are wrong.

    At most ``_CURVE_POINTS`` points at even distances along the curve, both ends included.
    """
    if items.right.all() or not items.right.any():
        return np.empty(0), np.empty(0), "only one kind"
    x, y = roc_curve(items.scores, items.right)
    if len(x) > _CURVE_POINTS:
        along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
        wanted = np.linspace(0, along[-1], _CURVE_POINTS)
        x, y = np.interp(wanted, along, x), np.interp(wanted, along, y)
    return x, y, f"AUC {roc_auc(items.scores, items.right):.2f}"
