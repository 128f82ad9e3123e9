"""Three rules that choose the best checkpoint, measured on the validation problems.

* ``vote``: how often the greedy answer to a hard question is the answer that weighted voting over
  the initial generator's samples chose. It reads no hard gold answer.
* ``easy``: accuracy on easy problems. It reads no hard gold answer, and ignores hard questions.
* ``paper``: accuracy on problems of all levels (paper p.6). It reads hard gold answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from e2h_cli.data.problem import Problem
from e2h_cli.data.prompt_styles import E2H, PromptStyle, parse
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import Engine, Request, SamplingParameters
from e2h_cli.settings.rl import CheckpointRule

RULES: tuple[str, ...] = get_args(CheckpointRule)


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Problems on which checkpoints are compared.

    ``max_level``: the last easy level; ``votes``: problem id -> answer that the voting chose;
    ``style``: how all questions of a training are asked.
    """

    problems: Sequence[Problem]
    max_level: int
    votes: Mapping[str, str]
    grader: Grader
    decoding: SamplingParameters
    style: PromptStyle = E2H

    def measure(self, engine: Engine, seed: int) -> dict[str, float | None]:
        """Sample greedy answers and return ``accuracies``."""
        prompt = self.style.prompt
        requests = [Request(p.id, (0,), prompt(p.problem), seed) for p in self.problems]
        greedy = replace(self.decoding, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
        answers: dict[str, str | None] = {}
        for generations in engine.generate(requests, greedy):
            for g in generations:
                finished = g.finish_reason == "stop"
                answers[g.id] = parse(self.style, g.text, finished=finished).answer
        return self.accuracies(answers)

    def accuracies(self, answers: Mapping[str, str | None]) -> dict[str, float | None]:
        """Accuracy of greedy answers (by problem id) in [0, 1], by rule; None without problems."""
        accuracies: dict[str, float | None] = {}
        for rule, gold in self._gold().items():
            pairs = [(right, a) for i, right in gold.items() if (a := answers[i]) is not None]
            count = sum(verdict.right for verdict in self.grader.grade(pairs))
            accuracies[rule] = count / len(gold) if gold else None
        return accuracies

    @property
    def sizes(self) -> dict[str, int]:
        """Number of problems by rule."""
        return {rule: len(gold) for rule, gold in self._gold().items()}

    def answers_read(self, rule: CheckpointRule) -> list[Problem]:
        """The problems whose gold answers a rule reads."""
        return [] if rule == "vote" else [p for p in self.problems if p.id in self._gold()[rule]]

    def _gold(self) -> dict[str, dict[str, str]]:
        """Rule -> problem id -> answer that counts as right."""
        gold = {p.id: p.answer for p in self.problems if p.answer is not None}
        hard = {p.id for p in self.problems if p.level > self.max_level}
        return {
            "vote": {i: answer for i, answer in self.votes.items() if i in hard},
            "easy": {i: answer for i, answer in gold.items() if i not in hard},
            "paper": gold,
        }


def best_checkpoint(history: Sequence[Mapping[str, Any]], rule: str) -> Mapping[str, Any] | None:
    """The first validation with the highest accuracy by a rule; None where none was measured.

    ``history`` has an entry per validation: "step", and the accuracy by each rule.
    """
    measured = [entry for entry in history if entry.get(rule) is not None]
    return max(measured, key=lambda e: e[rule], default=None)


def compare_rules(history: Sequence[Mapping[str, Any]], rule: str, unit: str) -> list[str]:
    """A line per rule that tells which checkpoint it would choose, and one for the last checkpoint.

    ``rule`` is the one in use; ``unit`` is what "step" counts: "step" or "iteration".
    """
    lines = []
    for name in RULES:
        line = f"rule {name}: not measured"
        if best := best_checkpoint(history, name):
            mark = " <- chosen" if name == rule else ""
            note = " (this rule reads hard gold answers)" if name == "paper" else ""
            line = f"rule {name} takes {unit} {best['step']}: {_percentages(best)}{note}{mark}"
        lines.append(line)
    return [*lines, f"the last {unit}, {history[-1]['step']}: {_percentages(history[-1])}"]


def _percentages(entry: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{rule} {100 * entry[rule]:.1f} %" for rule in RULES if entry[rule] is not None
    )
