"""Which checkpoint is the best: three rules, measured side by side on the validation problems.

* ``vote``: how often the greedy answer to a hard question is the one that the first generator's
  samples chose by weighted voting. It sees no hard gold answer.
* ``easy``: accuracy on easy problems. It sees no hard gold answer, nor what happens on hard.
* ``paper``: accuracy on problems of all levels (paper p.6). It looks at hard gold answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import Engine, Request, SamplingParameters
from e2h_cli.settings.rl import CheckpointRule

RULES: tuple[CheckpointRule, ...] = ("vote", "easy", "paper")


@dataclass(frozen=True, slots=True)
class Validation:
    """What a generator is measured on.

    ``problems``: of the validation part; ``max_level``: the last easy level; ``votes``: the chosen
    answer of hard problems, by id.
    """

    problems: Sequence[Problem]
    max_level: int
    votes: Mapping[str, str]
    grader: Grader
    decoding: SamplingParameters

    def measure(self, engine: Engine, seed: int) -> dict[str, float | None]:
        """Greedy accuracy by each rule, in [0, 1]; None where there is nothing to measure it on."""
        requests = [Request(p.id, (0,), template.prompt(p.problem), seed) for p in self.problems]
        greedy = replace(self.decoding, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
        answers: dict[str, str | None] = {}
        for generations in engine.generate(requests, greedy):
            for g in generations:
                answers[g.id] = template.parse(g.text, finished=g.finish_reason == "stop").answer
        return self.values(answers)

    def values(self, answers: Mapping[str, str | None]) -> dict[str, float | None]:
        """What each rule says of greedy answers, by problem."""
        return {rule: self._share(wanted, answers) for rule, wanted in self._wanted().items()}

    @property
    def sizes(self) -> dict[CheckpointRule, int]:
        """How many problems stand behind each rule's number."""
        return {rule: len(wanted) for rule, wanted in self._wanted().items()}

    def _wanted(self) -> dict[CheckpointRule, dict[str, str]]:
        """The answer that each rule wants to see, by problem."""
        gold = {p.id: p.answer for p in self.problems if p.answer is not None}
        hard = {p.id for p in self.problems if p.level > self.max_level}
        return {
            "vote": {i: answer for i, answer in self.votes.items() if i in hard},
            "easy": {i: answer for i, answer in gold.items() if i not in hard},
            "paper": gold,
        }

    def _share(self, wanted: Mapping[str, str], answers: Mapping[str, str | None]) -> float | None:
        if not wanted:
            return None
        pairs = [(gold, answer) for i, gold in wanted.items() if (answer := answers[i]) is not None]
        return sum(v.right for v in self.grader.grade(pairs)) / len(wanted)


def best(history: Sequence[Mapping[str, Any]], rule: CheckpointRule) -> Mapping[str, Any] | None:
    """The first of the entries with the highest value of a rule; None where none was measured."""
    measured = [entry for entry in history if entry.get(rule) is not None]
    return max(measured, key=lambda e: e[rule], default=None)


def side_by_side(
    history: Sequence[Mapping[str, Any]], rule: CheckpointRule, unit: str
) -> list[str]:
    """What each rule would choose and how good that is by all of them, and the last one, a line
    each.
    """
    lines = []
    for name in RULES:
        entry = best(history, name)
        if entry is None:
            lines.append(f"rule {name}: not measured")
            continue
        chosen = " <- chosen" if name == rule else ""
        note = " (this rule reads hard gold answers)" if name == "paper" else ""
        lines.append(f"rule {name} takes {unit} {entry['step']}: {_values(entry)}{note}{chosen}")
    return [*lines, f"the last {unit}, {history[-1]['step']}: {_values(history[-1])}"]


def _values(entry: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{rule} {100 * entry[rule]:.1f} %" for rule in RULES if entry[rule] is not None
    )
