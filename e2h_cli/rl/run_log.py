"""What a run looks like from outside, step by step: JSONL, TensorBoard, a plot, and a warning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.common.console import console
from e2h_cli.common.files import write_atomic
from e2h_cli.rl.checkpoint_selection import RULES
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.settings.rl import CheckpointRule

LOG = "log.jsonl"
# Steps whose mean is compared with the first ones', and how far accuracy must have fallen, in
# standard errors of its measurement, before anybody is alarmed.
_WINDOW = 5
_FALL = 2.0
# Of Okabe and Ito, as in the other plots.
_COLOURS = ("#0072B2", "#009E73", "#D55E00")


def summary(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """What the solutions of a step are like; shares are in [0, 1], lengths in tokens."""
    graded = [r.right for r in rollouts if r.right is not None]
    found = {
        "reward": np.mean([r.rewards.total for r in rollouts]),
        "process_reward": np.mean([r.rewards.process for r in rollouts]),
        "answer_reward": np.mean([r.rewards.answer for r in rollouts]),
        "tokens": np.mean([len(r.ids) for r in rollouts]),
        "solution_steps": np.mean([len(r.solution.steps) for r in rollouts]),
        "without_answer": np.mean([r.solution.answer is None for r in rollouts]),
        "truncated": np.mean([not r.finished for r in rollouts]),
    }
    if graded:
        found["right"] = np.mean(graded)
    return {name: float(value) for name, value in found.items()}


class Watch:
    """The log of a run. Lines after the step that a resumed run goes on from are written anew."""

    def __init__(
        self, folder: Path, lines: Sequence[Mapping[str, Any]], sizes: Mapping[CheckpointRule, int]
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._file = folder / LOG
        self.lines = [dict(line) for line in lines]
        self._sizes = sizes
        self._warned = any("warning" in line for line in lines)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=len(lines) or None)

    def add(self, line: Mapping[str, Any]) -> None:
        """Note a step; warn once when reward has risen while accuracy has fallen."""
        entry = {k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()}
        self.lines.append(entry)
        for name, value in entry.items():
            if name != "step" and isinstance(value, (int, float)):
                self._board.add_scalar(name, value, entry["step"])
        self._board.flush()
        message = "" if self._warned else hacking(self.lines, self._sizes)
        if message:
            self._warned = True
            entry["warning"] = message
            console.print(f"[yellow]warning: {message}[/yellow]")
        write_atomic(self._file, "".join(json.dumps(line) + "\n" for line in self.lines))

    def close(self) -> None:
        """Close the board."""
        self._board.close()


def hacking(lines: Sequence[Mapping[str, Any]], sizes: Mapping[CheckpointRule, int]) -> str:
    """A sentence if the reward has risen while a measured accuracy has fallen from its best.

    Accuracy on held-out easy problems, or agreement with the vote on hard questions: neither looks
    at a hard gold answer.

    Args:
        lines: of the log.
        sizes: how many problems stand behind each measurement.
    """
    rewards = [line["reward"] for line in lines if "reward" in line]
    if len(rewards) < 2 * _WINDOW:
        return ""
    before, now = np.mean(rewards[:_WINDOW]), np.mean(rewards[-_WINDOW:])
    if now <= before:
        return ""
    watched: tuple[tuple[CheckpointRule, str], ...] = (
        ("easy", "accuracy on held-out easy problems"),
        ("vote", "agreement with the vote on hard questions"),
    )
    for name, what in watched:
        measured = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if len(measured) < 2 or name not in sizes:
            continue
        step, best = max(measured, key=lambda pair: pair[1])
        last = measured[-1][1]
        error = np.sqrt(max(best * (1 - best), 1 / sizes[name]) / sizes[name])
        if best - last > _FALL * np.sqrt(2) * error:
            return (
                f"reward rose from {before:.3f} to {now:.3f}, but {what} fell from "
                f"{100 * best:.1f} % at step {step} to {100 * last:.1f} %: the policy may be "
                "hacking the reward"
            )
    return ""


def plot(lines: Sequence[Mapping[str, Any]], target: Path, *, note: str, unit: str) -> list[Path]:
    """Draw reward, accuracies, KL and length against the step; returns PNG and SVG.

    Args:
        lines: of the log.
        target: path without ending.
        note: stands under the title.
        unit: of the horizontal axis, "step" or "round".
    """
    from e2h_cli.reports.figures import new_figure, save_figure

    panels = [
        ("reward", {"reward": "reward"}),
        ("validation accuracy, %", {"easy": "easy", "paper": "all levels (reads hard answers)",
                                    "vote": "agreement with the vote on hard questions"}),
        ("KL to the start, nats per token", {"kl": "KL"}),
        ("tokens per solution", {"tokens": "tokens"}),
    ]  # fmt: skip
    shown = [
        (title, names)
        for title, names in panels
        if any(line.get(name) is not None for line in lines for name in names)
    ]
    with new_figure(len(shown), 2.9, 2.7) as (drawing, axes):
        for axis, (title, names) in zip(axes, shown, strict=True):
            for name, colour in zip(names, _COLOURS, strict=False):
                points = [(li["step"], li[name]) for li in lines if li.get(name) is not None]
                if not points:
                    continue
                xs, ys = zip(*points, strict=True)
                scale = 100 if name in RULES else 1
                axis.plot(xs, [scale * y for y in ys], color=colour, label=names[name], lw=1.4)
            axis.set_title(title)
            axis.set_xlabel(unit)
            axis.grid(axis="y", color="0.9", lw=0.6)
            axis.set_axisbelow(True)
            if len(names) > 1:
                handles, labels = axis.get_legend_handles_labels()
                drawing.legend(
                    handles, labels, loc="outside upper center", ncols=len(labels), frameon=False
                )
        return save_figure(drawing, target, note)
