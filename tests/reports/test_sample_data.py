"""What the page says of solutions: votes over all samples, and which of them it holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, SCORE_SCHEMA
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import predictions, voting_methods
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.voting import NO_ANSWER
from e2h_cli.reports.page import kept_samples
from e2h_cli.reports.page.kept_samples import kept_indices, limit_for, rule
from e2h_cli.reports.page.sample_data import SampleSet, Scoring, problems_json, sample_set_json

CHAIN = Problem("p", "a3 b+4 c*2", 1, "sums", "chains", answer="4", solution="b=3+4=7\nc=7*2=4")
# Answer, step scores, outcome score. Most say 9; the weights say 4; the highest score says 7.
SAMPLES: list[tuple[str | None, list[float], float]] = [
    ("9", [0.2, 0.2], 0.2),
    ("9", [0.3, 0.2], 0.2),
    ("9", [0.1, 0.2], 0.2),
    ("4", [0.9, 0.8], 0.9),
    (None, [0.99, 0.99], 0.99),
    ("7", [0.95, 0.85], 0.85),
    ("4", [0.7, 0.9], 0.8),
]


def sample_set(problem: Problem = CHAIN) -> SampleSet:
    answers = [answer for answer, _, _ in SAMPLES]
    distinct = [one for one in dict.fromkeys(answers) if one is not None]
    classes = np.array([NO_ANSWER if a is None else distinct.index(a) for a in answers])
    right = np.array([one == problem.answer for one in answers])
    group = SampleGroup(problem, tuple(range(len(answers))), tuple(answers), classes, right)
    rows, scores = [], []
    for number, (answer, step_scores, outcome) in enumerate(SAMPLES):
        text = template.completion(["b=3+4=7", f"c=7*2={answer}"], answer or "")
        text = text if answer is not None else "b=3+4=7\n\nc=7*2"
        reason = "length" if answer is None else "stop"
        rows.append({"id": "p", "sample": number, "text": text, "answer": answer,
                     "finish_reason": reason, "tokens": 9, "logprob": -0.5})  # fmt: skip
        scores.append({"id": "p", "sample": number, "step_scores": step_scores,
                       "outcome_score": outcome})  # fmt: skip
    scored = pa.Table.from_pylist(scores, schema=SCORE_SCHEMA)
    methods = voting_methods([group], scored)
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    return SampleSet("sample", [group], table, [Scoring("rerank", scored, methods)])


def test_votes_and_choices_are_those_of_the_run() -> None:
    given = sample_set()
    samples, [scoring] = sample_set_json(given, 64)
    problem, scored = samples["problems"][0], scoring["problems"][0]
    assert problem["a"] == [["9", 0, 3], ["4", 1, 2], ["7", 0, 1], [None, 0, 1]]
    assert (problem["maj"], problem["right"], problem["other"]) == (0, 2, [0, 0])
    chosen = [problem["a"][answer][0] for answer, _, _ in scored["c"]]
    assert chosen == [row["answer"] for row in predictions(given.groups, given.scorings[0].methods)]
    assert chosen == ["9", "4", "7"]
    # The best solution of each: of the majority, whose samples weigh the same, the first.
    assert [(right, sample) for _, right, sample in scored["c"]] == [(0, 0), (1, 3), (0, 5)]
    prod = [a * b * out for _, (a, b), out in SAMPLES]
    assert scored["sum"][0] == pytest.approx([sum(prod[:3]), prod[3] + prod[6], prod[5], prod[4]],
                                             rel=1e-3)  # fmt: skip
    # Of best-of-n the highest score.
    assert scored["sum"][1] == pytest.approx([0.2, 0.8, 0.85, 0.99])
    assert scored["steps"][3] == [0.9, 0.8]
    assert scored["out"][3] == 0.9


def test_solutions_are_there_with_steps_and_their_first_mistake() -> None:
    samples, _ = sample_set_json(sample_set(), 64)
    problem = samples["problems"][0]
    assert samples["oracle"]
    assert problem["s"] == list(range(7))
    assert problem["g"] == [0, 0, 0, 1, 3, 2, 1]
    # Equal texts stand once.
    assert len(problem["t"]) == 4
    steps = [problem["t"][i][0] for i in problem["x"]]
    assert steps[3] == ["b=3+4=7", "c=7*2=4"]
    assert [problem["wrong"][i] for i in problem["x"]] == [1, 1, 1, -1, 1, 1, -1]
    assert problem["end"][4] == "length"
    assert problem["logprob"] == [-0.5] * 7
    assert problem["t"][0][1] == ""


def test_what_stands_after_the_answer_is_kept() -> None:
    given = sample_set()
    text = "b=3+4=7\n\n# Answer\n\n9\n\n# Question\n\nmore"
    column = pa.array([text, *given.samples["text"].to_pylist()[1:]])
    table = given.samples.set_column(2, "text", column)
    samples, _ = sample_set_json(SampleSet("s", given.groups, table), 64)
    steps, rest = samples["problems"][0]["t"][0]
    assert steps == ["b=3+4=7"]
    assert rest == "# Answer\n\n9\n\n# Question\n\nmore"


def test_problems_without_an_oracle_have_no_first_mistake() -> None:
    other = Problem("p", "What?", 1, "Algebra", "math", answer="4")
    samples, _ = sample_set_json(sample_set(other), 64)
    assert not samples["oracle"]
    assert "wrong" not in samples["problems"][0]
    assert problems_json({"p": other}) == [
        {"id": "p", "q": "What?", "gold": "4", "level": 1, "subject": "Algebra"}
    ]


def test_of_many_solutions_those_that_matter_are_kept_and_votes_stay_exact() -> None:
    whole, [all_scores] = sample_set_json(sample_set(), 64)
    cut, [scores] = sample_set_json(sample_set(), 1)
    assert (whole["rule"], cut["rule"]) == ("", rule(7, 1))
    assert "the first 1 and" in cut["rule"]
    problem, scored = cut["problems"][0], scores["problems"][0]
    # The first; the four highest of each method are 3, 4, 5 and 6; 0 is the best of the majority.
    assert problem["s"] == [0, 1, 2, 3, 4, 5, 6]  # majority voting: all weigh the same, the first
    assert problem["a"] == whole["problems"][0]["a"]
    assert scored["c"] == all_scores["problems"][0]["c"]
    assert scored["sum"] == all_scores["problems"][0]["sum"]


def test_the_rule_keeps_the_highest_the_chosen_and_the_best_right_one() -> None:
    size = 40
    classes = np.arange(size) % 10
    group = SampleGroup(CHAIN, tuple(range(size)), tuple(map(str, classes)), classes,
                        classes == 4)  # fmt: skip
    weights = np.linspace(1, 0, size)
    weights[[30, 31, 32, 33]] = 5, 6, 7, 8
    weights[14] = 0.9
    kept = kept_indices(group, 2, [(weights, 8)])
    # 8 is the first of the answer that is chosen, 14 the best right one.
    assert kept == [0, 1, 8, 14, 30, 31, 32, 33]
    assert kept_indices(group, 40, [(weights, 8)]) == list(range(size))


def test_rare_answers_are_summed_up_but_for_the_right_and_the_chosen_ones() -> None:
    size = 40
    classes = np.array([*range(20), *range(20)])
    right = classes == 19
    group = SampleGroup(CHAIN, tuple(range(size)), tuple(f"a{c}" for c in classes), classes, right)
    rows = [{"id": "p", "sample": i, "text": "x", "answer": f"a{classes[i]}",
             "finish_reason": "stop", "tokens": 1} for i in range(size)]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    samples, _ = sample_set_json(SampleSet("s", [group], table), 64)
    problem = samples["problems"][0]
    assert [text for text, _, _ in problem["a"]] == [*(f"a{i}" for i in range(12)), "a19"]
    assert problem["other"] == [7, 14]
    assert sum(votes for _, _, votes in problem["a"]) + problem["other"][1] == size
    # A solution of another answer has it with itself.
    assert problem["g"][12] == -1
    assert problem["own"]["12"] == "a12"


def test_the_limit_falls_until_all_sets_fit() -> None:
    assert limit_for([(320, 64, 60.0)] * 3) == kept_samples.MOST
    assert limit_for([(500, 1024, 1000.0)]) == 32
    assert limit_for([(500, 1024, 1000.0)] * 100) == kept_samples.FEWEST
    # Sets with few samples do not count for more than they have.
    assert limit_for([(500, 1, 1000.0)] * 40) == kept_samples.MOST
