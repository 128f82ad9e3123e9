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
    paths = [target.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=200, metadata=metadata)
    return paths


def plot_accuracy_against_n(
    metrics: Sequence[Metric], target: Path, *, max_level: int, note: str
) -> list[Path]:
    """Accuracy against N with intervals, one panel per group; returns the PNG and the SVG file.

    Args:
        metrics: drawn are majority, weighted voting and best-of-n, each with its first generator,
            reward model and aggregation.
        target: path without suffix.
        max_level: the last easy level, for the titles.
        note: line under the panels.
    """
    curves = _main_curves(main_metrics(metrics))
    groups = [g for g in MAIN_GROUPS if any(m.group == g for m in curves)]
    ns = sorted({m.n for m in curves})
    levels = {"easy": f" (levels 1-{max_level})", "hard": f" (levels {max_level + 1}+)"}
    with new_figure(len(groups), 2.9, 2.9) as (figure, axes):
        for axis, group in zip(axes, groups, strict=True):
            for method in _METHODS:
                _draw_curve(axis, [m for m in curves if (m.group, m.method) == (group, method)])
            axis.set_title(_TITLES[group] + levels.get(group, ""))
            _label_n(axis, ns)
        axes[0].set_ylabel("Accuracy (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        return save_figure(figure, target, note)


def _draw_curve(axis: Any, metrics: Sequence[Metric]) -> None:
    """Accuracy of one method with a band for its interval."""
    if not metrics:
        return
    curve = sorted(metrics, key=lambda m: m.n)
    name, colour, marker = _METHODS[curve[0].method]
    x = [m.n for m in curve]
    low, high = [m.low for m in curve], [m.high for m in curve]
    axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    y = [m.accuracy for m in curve]
    axis.plot(x, y, color=colour, marker=marker, ms=3.5, lw=1.4, label=name)


def _label_n(axis: Any, ns: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(ns if len(ns) <= 7 else ns[::2]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("N = number of solutions per problem")
    axis.grid(axis="y", color="0.9", lw=0.6)
    axis.set_axisbelow(True)


def _main_curves(metrics: Sequence[Metric]) -> list[Metric]:
    """Metrics of each method with its first generator, reward model and aggregation."""
    first: dict[str, tuple[str, str, str]] = {}
    return [
        m
        for m in metrics
        if m.method in _METHODS
        and m.group in MAIN_GROUPS
        and first.setdefault(m.method, (m.generator, m.reward_model, m.aggregate))
        == (m.generator, m.reward_model, m.aggregate)
    ]


def plot_reward_model(
    scores: Mapping[str, LabelledScores], target: Path, *, note: str
) -> list[Path]:
    """ROC and calibration of a reward model; returns the PNG and the SVG file.

    Args:
        scores: by name in the legend ("Steps", "Outcomes"), four at most; probabilities.
        target: path without suffix.
        note: line under the panels.

    Raises:
        ValueError: no items under one of the names, or scores that are not probabilities.
    """
    from matplotlib.lines import Line2D

    with new_figure(2, 3.1, 3.35) as (figure, (roc, calibrated)):
        styled = list(zip(scores.values(), _LINE_STYLES, strict=False))
        for items, style in styled:
            _draw_roc(roc, items, style)
            _draw_calibration(calibrated, items, style)
        roc.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate")
        calibrated.set(
            title="Calibration", xlabel="Mean score of the bin", ylabel="Share that is right"
        )
        for axis in (roc, calibrated):
            axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
            axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            axis.set_xticks(np.linspace(0, 1, 6))
            axis.set_yticks(np.linspace(0, 1, 6))
            axis.grid(color="0.9", lw=0.6)
            axis.set_axisbelow(True)
        box = {"handlelength": 2.4, "framealpha": 0.8, "edgecolor": "none"}
        roc.legend(loc="lower right", **box)
        calibrated.legend(loc="best", **box)
        figure.legend(
            [Line2D([], [], color=colour, ls=line, lw=1.4) for _, (colour, line, _) in styled],
            list(scores),
            loc="outside upper center",
            ncols=len(scores),
            handlelength=2.4,
            frameon=False,
        )
        return save_figure(figure, target, note)


def _draw_roc(axis: Any, items: LabelledScores, style: tuple[str, str, str]) -> None:
    """The ROC curve; where all items are right or all are wrong, only a legend that says so."""
    colour, line, _ = style
    if items.right.all() or not items.right.any():
        x, y, label = np.empty(0), np.empty(0), "only one kind"
    else:
        x, y = _thinned(*roc_curve(items.scores, items.right))
        label = f"AUC {roc_auc(items.scores, items.right):.2f}"
    axis.plot(x, y, color=colour, ls=line, lw=1.4, label=label)


def _draw_calibration(axis: Any, items: LabelledScores, style: tuple[str, str, str]) -> None:
    """One point per bin of equal mass."""
    colour, line, marker = style
    curve = calibration(items.scores, items.right)
    look = {"color": colour, "ls": line, "marker": marker, "ms": 3.5, "lw": 1.4}
    axis.plot(curve.mean_score, curve.share_right, **look, label=f"ECE {curve.error:.2f}")


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most ``_CURVE_POINTS`` points at even distances along the curve, both ends included."""
    if len(x) <= _CURVE_POINTS:
        return x, y
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, along[-1], _CURVE_POINTS)
    return np.interp(wanted, along, x), np.interp(wanted, along, y)
