"""Which checkpoint is chosen, what the log warns of, and our rows beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.predictions import read_predictions, winners, write_predictions
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.grading import get_grader
from e2h_cli.inference.engines.base import Generation, Request, SamplingParameters
from e2h_cli.reports import table5
from e2h_cli.reports.results import Measurement
from e2h_cli.reports.tables import MAIN_GROUPS
from e2h_cli.rl.checkpoint_selection import Validation, best, side_by_side
from e2h_cli.rl.run_log import hacking


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
        validation = Validation(
            problems, 3, votes, grader, SamplingParameters(0.7, 20, max_tokens=5)
        )
        found = validation.measure(engine, 0)
        assert found == {"vote": 1.0, "easy": 0.5, "paper": 3 / 5}
        assert validation.sizes == {"vote": 2, "easy": 2, "paper": 5}
        assert engine.decodings[0].temperature == 0
        hard_only = Validation(problems[2:], 3, {}, grader, SamplingParameters())
        assert hard_only.values({"h1": None, "h2": "4", "h3": None}) == {
            "vote": None, "easy": None, "paper": 1 / 3
        }  # fmt: skip


HISTORY = [
    {"step": 0, "vote": 0.5, "easy": 0.9, "paper": 0.6},
    {"step": 5, "vote": 0.7, "easy": 0.9, "paper": 0.7},
    {"step": 10, "vote": 0.7, "easy": 0.8, "paper": 0.8},
]


def test_the_first_of_the_best_is_taken() -> None:
    taken = {rule: best(HISTORY, rule) for rule in ("vote", "easy", "paper")}  # type: ignore[arg-type]
    assert {rule: entry["step"] for rule, entry in taken.items() if entry} == {
        "vote": 5, "easy": 0, "paper": 10
    }  # fmt: skip
    assert best([{"step": 0, "vote": None}], "vote") is None
    text = side_by_side(HISTORY, "vote", "step")
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
    message = hacking(log(rising, falling), sizes)  # type: ignore[arg-type]
    assert "reward rose from 0.200 to 0.900" in message
    assert "held-out easy problems fell from 95.0 % at step 0 to 62.0 %" in message
    assert not hacking(log(rising[::-1], falling), sizes)  # type: ignore[arg-type]
    # Within the noise of 200 problems, and with too few steps to say.
    assert not hacking(log(rising, [0.95] * 11 + [0.93]), sizes)  # type: ignore[arg-type]
    assert not hacking(log(rising, falling)[:9], sizes)  # type: ignore[arg-type]
    votes = [{**line, "easy": 1.0, "vote": line["easy"]} for line in log(rising, falling)]
    assert "agreement with the vote" in hacking(votes, sizes)  # type: ignore[arg-type]


def test_winners_by_hand(tmp_path: Path) -> None:
    pool = SampleGroup(problem("p", 1, "2"), ("1", "2", None, "2", "3"),
                np.array([0, 1, -1, 1, 2]), np.array([False, True, False]))  # fmt: skip
    none = SampleGroup(
        problem("q", 1, "2"), (None,) * 5, np.array([-1] * 5), np.zeros(0, dtype=bool)
    )
    scores = [np.array([0.9, 0.3, 1.0, 0.4, 0.1]), np.ones(5)]
    rows = [*winners([pool, none], "majority", "", [np.ones(5), np.ones(5)]),
            *winners([pool, none], "weighted-voting", "prod", scores),
            *winners([pool, none], "best-of-n", "min", scores)]  # fmt: skip
    assert [row["answer"] for row in rows] == ["2", None, "1", None, "1", None]
    write_predictions(tmp_path, rows)
    assert read_predictions(tmp_path) == {"p": "1"}
    write_predictions(tmp_path, rows[:2])
    assert read_predictions(tmp_path) == {"p": "2"}
    with pytest.raises(InputError, match=r"no winners\.jsonl"):
        read_predictions(tmp_path / "no")


def test_rerank_writes_the_winners(mini_run: Path) -> None:
    rows = [row for _, row in read_jsonl(mini_run / "rerank/predictions.jsonl")]
    assert {row["method"] for row in rows} == {"majority", "weighted-voting", "best-of-n"}
    assert all(set(row) == {"id", "method", "aggregate", "answer"} for row in rows)


def rows_of_ours() -> tuple[list[table5.Line], list[dict[str, Any]]]:
    easy, hard = np.ones(100), np.zeros(100)
    hard[:50] = 1
    better = hard.copy()
    better[50:70] = 1
    origins = [table5.Origin(("SFT", "-", "-", False), "no", None),
               table5.Origin(("PPO", "all", "easy", True), "no", 5),
               table5.Origin(("PPO", "easy", "easy", False), "no", 5),
               table5.Origin(("GRPO", "all", "easy", True), "choice", 9),
               table5.Origin(("DPO", "all", "easy", True), "train", 9)]  # fmt: skip
    accuracies = [hard, better, hard, better, better]
    values = [np.concatenate([easy, a]) for a in accuracies]
    measurements = [Measurement("g", "", "greedy", "", 1, v) for v in values]
    mask = np.arange(200) < 100
    groups = {"easy": mask, "hard": ~mask, "all": np.ones(200, dtype=bool)}
    return table5.lines_of(origins, measurements, groups, confidence=0.95, seed=0)


def test_rows_with_intervals_and_tests() -> None:
    lines, orderings = rows_of_ours()
    sft, ppo, *_ = lines
    assert sft.accuracy["hard"][0] == pytest.approx(50)
    assert sft.accuracy["hard"][1] < 45 < 55 < sft.accuracy["hard"][2]
    assert sft.against_sft == {}
    assert ppo.against_sft["hard"][0] == pytest.approx(20)
    assert ppo.against_sft["hard"][1] < 0.01
    assert ppo.against_sft["easy"] == (0.0, 1.0)
    found = {(o["better"], o["worse"]): o for o in orderings}
    best = "PPO, all questions, easy answers, PRM"
    assert found[best, "SFT"]["verdict"] == "holds"
    assert found[best, "SFT"]["paper"] == pytest.approx(14.9 - 12.2)
    assert len(orderings) == 2


def test_the_table_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    lines, orderings = rows_of_ours()
    others = [{("SFT", "-", "-", False): 41.0, ("PPO", "all", "easy", True): 62.0}] * 2
    text = table5.present_table5(lines, orderings, others, "tiny")
    header, rows = table5.table_rows(lines, others)
    assert rows[1][:4] == ("PPO", "all", "easy", "yes")
    assert rows[1][header.index("paper")] == "45.4/14.9/29.4"
    assert rows[1][header.index("hard - SFT (p)")].startswith("+20.0 (0.0")
    assert rows[3][header.index("paper")] == "-"  # the paper has no GRPO
    assert rows[3][header.index("reads hard")] == "choice"
    assert rows[2][header.index("others")] == "-/-"
    assert "tiny scale" in text
    assert "…" not in capsys.readouterr().out


def test_a_reversed_ordering_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    lines, orderings = rows_of_ours()
    turned = [{**orderings[0], "verdict": "reversed"}]
    assert "reversed: the tiny start solves 50 %" in table5.present_table5(
        lines, turned, [], "tiny"
    )
    assert "reversed:" not in table5.present_table5(lines, turned, [], "paper")
    assert "reversed:" not in table5.present_table5(lines, orderings, [], "tiny")


def test_other_seeds(tmp_path: Path) -> None:
    lines, orderings = rows_of_ours()
    (tmp_path / "results.json").write_text(json.dumps({"table5": table5.as_json(lines, orderings)}))
    (found,) = table5.other_seeds([str(tmp_path)])
    assert found["PPO", "all", "easy", True] == pytest.approx(70)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InputError, match="no table 5 here"):
        table5.other_seeds([str(tmp_path)])


def test_where_nothing_is_known_of_the_generator(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is known of the generator"):
        table5.origin(tmp_path)


@pytest.mark.parametrize("block", ["PRM800K", "MetaMath"])
def test_the_paper_s_numbers_are_shares_of_its_problems(block: str) -> None:
    """238 easy problems and 262 hard ones: every percentage is a whole number of them."""
    rows = table5.paper_rows(block)
    assert len(rows) == {"PRM800K": 10, "MetaMath": 8}[block]
    for row in rows.values():
        right = []
        for group, count in zip(MAIN_GROUPS, (238, 262, 500), strict=True):
            number = round(row[group] * count / 100)
            assert round(100 * number / count, 1) == pytest.approx(row[group], abs=0.051), row
            right.append(number)
        assert right[0] + right[1] == right[2], row
