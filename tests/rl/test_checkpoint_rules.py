"""Which checkpoint is chosen, what the log warns of, and our rows beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from e2h_cli.data.problem import Problem
from e2h_cli.grading import get_grader
from e2h_cli.inference.engines.base import Generation, Request, SamplingParameters
from e2h_cli.rl.checkpoint_selection import ValidationSet, best_checkpoint, compare_rules
from e2h_cli.rl.run_log import hacking_warning


class Fake:
    """An engine that answers from a list, and fails to finish where it has nothing to say."""

    name = "fake"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.decodings: list[SamplingParameters] = []

    def generate(
        self, requests: Iterable[Request], decoding: SamplingParameters
    ) -> Iterator[list[Generation]]:
        self.decodings.append(decoding)
        for r in requests:
            answer = self.answers.get(r.id)
            text = f"step\n\n# Answer\n\n{answer}"
            yield [Generation(r.id, 0, text, "stop" if answer else "length", 9, None)]


def problem(name: str, level: int, answer: str | None) -> Problem:
    return Problem(name, name, level, "", "", answer=answer)


def test_three_rules_see_three_things() -> None:
    problems = [problem("e1", 1, "1"), problem("e2", 3, "2"), problem("h1", 4, "3"),
                problem("h2", 5, "4"), problem("h3", 5, "5")]  # fmt: skip
    votes = {"e1": "9", "h1": "3", "h2": "8"}  # of easy problems none counts; h3 has none
    engine = Fake({"e1": "1", "e2": "7", "h1": "3", "h2": "8", "h3": "5"})
    with get_grader("exact") as grader:
        validation = ValidationSet(
            problems, 3, votes, grader, SamplingParameters(0.7, 20, max_tokens=5)
        )
        found = validation.measure(engine, 0)
        assert found == {"vote": 1.0, "easy": 0.5, "paper": 3 / 5}
        assert validation.sizes == {"vote": 2, "easy": 2, "paper": 5}
        assert engine.decodings[0].temperature == 0
        hard_only = ValidationSet(problems[2:], 3, {}, grader, SamplingParameters())
        assert hard_only.accuracies({"h1": None, "h2": "4", "h3": None}) == {
            "vote": None, "easy": None, "paper": 1 / 3
        }  # fmt: skip


HISTORY = [
    {"step": 0, "vote": 0.5, "easy": 0.9, "paper": 0.6},
    {"step": 5, "vote": 0.7, "easy": 0.9, "paper": 0.7},
    {"step": 10, "vote": 0.7, "easy": 0.8, "paper": 0.8},
]


def test_the_first_of_the_best_is_taken() -> None:
    taken = {rule: best_checkpoint(HISTORY, rule) for rule in ("vote", "easy", "paper")}  # type: ignore[arg-type]
    assert {rule: entry["step"] for rule, entry in taken.items() if entry} == {
        "vote": 5, "easy": 0, "paper": 10
    }  # fmt: skip
    assert best_checkpoint([{"step": 0, "vote": None}], "vote") is None
    text = compare_rules(HISTORY, "vote", "step")
    assert text[0] == "rule vote takes step 5: vote 70.0 %, easy 90.0 %, paper 70.0 % <- chosen"
    assert "(this rule reads hard gold answers)" in text[2]
    assert text[3] == "the last step, 10: vote 70.0 %, easy 80.0 %, paper 80.0 %"


def log(rewards: list[float], easy: list[float]) -> list[dict[str, Any]]:
    return [
        {"step": i, "reward": r, "easy": e, "vote": None}
        for i, (r, e) in enumerate(zip(rewards, easy, strict=True))
    ]


def test_a_warning_when_reward_rises_and_accuracy_falls() -> None:
    sizes = {"easy": 200, "vote": 200}
    rising, falling = [0.1 * i for i in range(12)], [0.95 - 0.03 * i for i in range(12)]
    message = hacking_warning(log(rising, falling), sizes)  # type: ignore[arg-type]
    assert "reward rose from 0.200 to 0.900" in message
    assert "held-out easy problems fell from 95.0 % at step 0 to 62.0 %" in message
    assert not hacking_warning(log(rising[::-1], falling), sizes)  # type: ignore[arg-type]
    # Within the noise of 200 problems, and with too few steps to say.
    assert not hacking_warning(log(rising, [0.95] * 11 + [0.93]), sizes)  # type: ignore[arg-type]
    assert not hacking_warning(log(rising, falling)[:9], sizes)  # type: ignore[arg-type]
    votes = [{**line, "easy": 1.0, "vote": line["easy"]} for line in log(rising, falling)]
    assert "agreement with the vote" in hacking_warning(votes, sizes)  # type: ignore[arg-type]
