"""Plots: accuracy against N, and ROC (the paper's Figure 24) and calibration of reward models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from e2h_cli.evaluation.labelled_scores import LabelledScores
from e2h_cli.evaluation.rm_metrics import calibration, roc_points
from e2h_cli.reports.figure_style import LOOKS, METHOD_NAMES, legend_above, new_figure, save_figure
from e2h_cli.reports.panels import Line, Panel, auc_label, plot_panels, unit_square
from e2h_cli.reports.paper_numbers import PaperCurve
from e2h_cli.reports.results import MAIN_GROUPS, Metric, main_metrics

_TITLES = {"easy": "Easy", "hard": "Hard", "all": "All"}


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
    main = main_metrics(metrics)
    shown = [m for m in main if m.method in METHOD_NAMES and m.group in MAIN_GROUPS]
    # Reversed, so that the first of each method is kept.
    first = {m.method: (m.generator, m.reward_model, m.aggregate) for m in reversed(shown)}
    shown = [m for m in shown if first[m.method] == (m.generator, m.reward_model, m.aggregate)]
    levels = {"easy": f" (levels 1-{max_level})", "hard": f" (levels {max_level + 1}+)"}
    panels = []
    for group in MAIN_GROUPS:
        lines = []
        for method, name in METHOD_NAMES.items():
            ours = sorted(
                (m.n, m.accuracy, m.low, m.high)
                for m in shown
                if (m.group, m.method) == (group, method)
            )
            if ours:
                theirs: dict[int, float] = {}
                for curve in paper:
                    if (curve.group, curve.method) == (group, method):
                        theirs = curve.accuracy
                x, y, low, high = zip(*ours, strict=True)
                paper_x, paper_y = tuple(theirs), tuple(theirs.values())
                lines.append(Line(name, x, y, low, high, paper_x, paper_y))
        if lines:
            panels.append(Panel(_TITLES[group] + levels.get(group, ""), lines))
    label = ""
    if paper:
        models = "/".join(dict.fromkeys(c.reward_model for c in paper if c.reward_model))
        label = f"Paper, Figure {paper[0].figure} ({paper[0].generator} + {models})"
    x_label = "N = number of solutions per problem"
    return plot_panels(
        [panels], target, x_label=x_label, y_label="Accuracy (%)", note=note, paper_label=label
    )


def plot_reward_model(
    scores: Mapping[str, LabelledScores], target: Path, *, note: str
) -> list[Path]:
    """ROC and calibration of a reward model; returns the PNG and the SVG file.

    ``scores``: by name in the legend ("Steps", "Outcomes"), four at most; ValueError if there are
    none under a name, or they are not probabilities. ``target``: path without suffix.
    """
    from matplotlib.lines import Line2D

    with new_figure(2, 3.1, 3.35) as (figure, (roc, calibrated)):
        names = []
        for (name, items), (colour, style, marker) in zip(scores.items(), LOOKS, strict=False):
            look: dict[str, Any] = {"color": colour, "ls": style, "lw": 1.4}
            names.append(Line2D([], [], **look, label=name))
            points = roc_points(items.scores, items.right)
            label = auc_label(points.auc)
            roc.plot(points.false_positive, points.true_positive, **look, label=label)
            # One point per bin of equal mass.
            curve = calibration(items.scores, items.right)
            label = f"ECE {curve.error:.2f}"
            bins = curve.mean_score, curve.share_right
            calibrated.plot(*bins, **look, marker=marker, ms=3.5, label=label)
        roc.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate")
        x_label, y_label = "Mean score of the bin", "Share that is right"
        calibrated.set(title="Calibration", xlabel=x_label, ylabel=y_label)
        unit_square(roc, "lower right")
        unit_square(calibrated, "best")
        legend_above(figure, names)
        return save_figure(figure, target, note)
