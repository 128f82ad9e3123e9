"""How a reward model judges by itself: ROC curves (the paper's Figure 24) and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.evaluation.reward_metrics import (
    Judged,
)
from e2h_cli.evaluation.rm_metrics import (
    calibration,
    roc_auc,
    roc_curve,
)
from e2h_cli.evaluation.voting import Floats
from e2h_cli.reports.style import drawn, save

# Colours of Okabe and Ito, as in the other plot, and dashes for readers in grey.
_STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
)
_CURVE_POINTS = 400


def reward_diagnostics(judged: Mapping[str, Judged], target: Path, *, note: str) -> list[Path]:
    """Draw ROC and calibration; write ``target`` as PNG and SVG, return both paths.

    Args:
        judged: by name in the legend ("Steps", "Outcomes"), four at most; probabilities.
        target: path without suffix.
        note: a line under the panels: where the numbers come from.

    Raises:
        ValueError: nothing was judged under one of the names, or its scores are no probabilities.
    """
    from matplotlib.lines import Line2D

    with drawn(2, 3.1, 3.35) as (drawing, (roc, calibrated)):
        looks = list(zip(judged.values(), _STYLES, strict=False))
        for items, look in looks:
            _draw_roc(roc, items, look)
            _draw_calibration(calibrated, items, look)
        roc.set_title("ROC")
        roc.set_xlabel("False positive rate")
        roc.set_ylabel("True positive rate")
        calibrated.set_title("Calibration")
        calibrated.set_xlabel("Mean score of the bin")
        calibrated.set_ylabel("Share that is right")
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
        drawing.legend(
            [Line2D([], [], color=colour, ls=dashes, lw=1.4) for _, (colour, dashes, _) in looks],
            list(judged),
            loc="outside upper center",
            ncols=len(judged),
            handlelength=2.4,
            frameon=False,
        )
        return save(drawing, target, note)


def _draw_roc(axis: Any, items: Judged, look: tuple[str, str, str]) -> None:
    """A curve; where all are right or all are wrong, a word on why there is none."""
    colour, dashes, _ = look
    if items.right.all() or not items.right.any():
        x, y, label = np.empty(0), np.empty(0), "only one kind"
    else:
        x, y = _thinned(*roc_curve(items.scores, items.right))
        label = f"AUC {roc_auc(items.scores, items.right):.2f}"
    axis.plot(x, y, color=colour, ls=dashes, lw=1.4, label=label)


def _draw_calibration(axis: Any, items: Judged, look: tuple[str, str, str]) -> None:
    """A point per bin of equal mass."""
    colour, dashes, marker = look
    curve = calibration(items.scores, items.right)
    axis.plot(
        curve.mean_score,
        curve.share_right,
        color=colour,
        ls=dashes,
        marker=marker,
        ms=3.5,
        lw=1.4,
        label=f"ECE {curve.error:.2f}",
    )


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most ``_CURVE_POINTS`` points at even distances along the curve, both ends among them."""
    if len(x) <= _CURVE_POINTS:
        return x, y
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, along[-1], _CURVE_POINTS)
    return np.interp(wanted, along, x), np.interp(wanted, along, y)
