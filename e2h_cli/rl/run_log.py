"""The log of a training: JSONL, TensorBoard, a plot, and a warning of reward hacking."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.common import distributed
from e2h_cli.common.files import write_atomic
from e2h_cli.common.tracking import Tracker
from e2h_cli.rl.checkpoint_selection import RULES

logger = logging.getLogger(__name__)

LOG = "log.jsonl"
# Folder of the rollouts, of every step in the output and of the current one in the scratch folder.
ROLLOUTS = "rollouts"
# The mean reward of the last steps is compared with that of the first ones.
_WINDOW = 5
# How far accuracy must have fallen, in standard errors of its difference.
_MIN_FALL = 2.0


class RunLog:
    """The log of a training, one line per step or iteration; only rank 0 writes it.

    A training that continues from a checkpoint gives its ``lines``; later ones in the files are
    overwritten. ``sizes``: number of validation problems by rule; ``tracker`` is told every line.
    """

    def __init__(
        self,
        folder: Path,
        lines: Sequence[Mapping[str, Any]],
        sizes: Mapping[str, int],
        tracker: Tracker,
    ) -> None:
        self.lines = [dict(line) for line in lines]
        self._folder = folder
        self._sizes = sizes
        self._tracker = tracker
        self._board: Any = None

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line; warn once where reward has risen while accuracy has fallen."""
        if not distributed.is_main_process():
            return
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            board = str(self._folder / "tensorboard")
            self._board = SummaryWriter(board, purge_step=len(self.lines))
        entry = {k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()}
        self.lines.append(entry)
        for name, value in entry.items():
            if name != "step" and isinstance(value, (int, float)):
                self._board.add_scalar(name, value, entry["step"])
        self._board.flush()
        self._tracker.log(line["step"], entry)
        warned = any("warning" in line for line in self.lines)
        if not warned and (message := hacking_warning(self.lines, self._sizes)):
            entry["warning"] = message
            logger.warning(f"warning: {message}")
        write_atomic(self._folder / LOG, "".join(json.dumps(line) + "\n" for line in self.lines))

    def close(self) -> None:
        """Close the TensorBoard writer."""
        if self._board is not None:
            self._board.close()


def hacking_warning(lines: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> str:
    """A sentence if the reward has risen while a validation accuracy has fallen from its best.

    Looks at accuracy on easy problems and at agreement with the vote on hard ones; neither reads a
    hard gold answer. ``sizes``: number of validation problems by rule.
    """
    rewards = [line["reward"] for line in lines if "reward" in line]
    if len(rewards) < 2 * _WINDOW:
        return ""
    before, now = np.mean(rewards[:_WINDOW]), np.mean(rewards[-_WINDOW:])
    if now <= before:
        return ""
    for rule, what in (
        ("easy", "accuracy on held-out easy problems"),
        ("vote", "agreement with the vote on hard questions"),
    ):
        measured = [(line["step"], line[rule]) for line in lines if line.get(rule) is not None]
        if len(measured) < 2 or rule not in sizes:
            continue
        step, best = max(measured, key=lambda pair: pair[1])
        last = measured[-1][1]
        error = np.sqrt(max(best * (1 - best), 1 / sizes[rule]) / sizes[rule])
        if best - last > _MIN_FALL * np.sqrt(2) * error:
            return (
                f"reward rose from {before:.3f} to {now:.3f}, but {what} fell from "
                f"{100 * best:.1f} % at step {step} to {100 * last:.1f} %: the policy may be "
                "hacking the reward"
            )
    return ""


def plot_training(
    lines: Sequence[Mapping[str, Any]], target: Path, *, note: str, unit: str
) -> list[Path]:
    """Plot reward, accuracies, KL and length over the steps as ``target``.png and .svg.

    ``note`` is the text under the panels; ``unit`` ("step" or "iteration") labels the x axis.
    """
    from e2h_cli.reports.figure_style import BLUE, GREEN, RED, new_figure, save_figure

    panels = [
        ("reward", {"reward": "reward"}),
        ("validation accuracy, %", {"easy": "easy", "paper": "all levels (reads hard answers)",
                                    "vote": "agreement with the vote on hard questions"}),
        ("KL to the initial policy, nats per token", {"kl": "KL"}),
        ("tokens per solution", {"tokens": "tokens"}),
    ]  # fmt: skip
    measured = {name for line in lines for name, value in line.items() if value is not None}
    shown = [(title, labels) for title, labels in panels if measured & labels.keys()]
    with new_figure(len(shown), 2.9, 2.7) as (drawing, axes):
        for axis, (title, labels) in zip(axes, shown, strict=True):
            for (name, label), colour in zip(labels.items(), (BLUE, GREEN, RED), strict=False):
                points = [
                    (line["step"], line[name]) for line in lines if line.get(name) is not None
                ]
                if points:
                    steps, values = np.transpose(points)
                    scale = 100 if name in RULES else 1
                    axis.plot(steps, scale * values, color=colour, label=label, lw=1.4)
            axis.set_title(title)
            axis.set_xlabel(unit)
            axis.grid(axis="y", color="0.9", lw=0.6)
            axis.set_axisbelow(True)
            if len(labels) > 1:
                drawing.legend(
                    *axis.get_legend_handles_labels(), loc="outside upper center", ncols=3,
                    frameon=False,
                )  # fmt: skip
        return save_figure(drawing, target, note)
