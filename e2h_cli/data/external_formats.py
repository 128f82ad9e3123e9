"""The rows of samples and scores that other projects write, one function for each format.

| format | written by | one row is | scores |
| --- | --- | --- | --- |
| qwen | Qwen2.5-Math ``evaluation/math_eval.py`` | a problem | ``pred_score``, any scale |
| search-and-learn | huggingface/search-and-learn | a problem | ``scores``, probabilities |
| rlhflow | RLHFlow ``math-rm/prm_evaluate.py`` | a problem | ``step_scores``, probabilities |
| official | the paper's ``inference_reward.py`` | a sample | ``reward``, logits |

Answers are those that the format extracted itself (``pred`` of qwen, the text after ``# Answer`` of
official), else what ``final_answer.stated_answer`` takes out of the solution: the last boxes, what
the text calls the answer, the last formula.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.external_rows import Record
from e2h_cli.data.final_answer import stated_answer
from e2h_cli.data.math_shepherd import STEP_MARK
from e2h_cli.data.problem import Problem, problem_from_row

ImportFormat = Literal["qwen", "search-and-learn", "rlhflow", "official"]
Scale = Literal["probability", "logit", "unknown"]

UNKNOWN_LEVEL = 0

_PROMPT = re.compile(r"\s*# Question\n(?P<question>.*)\n\s*# Solution\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExternalRow:
    """Samples of one problem. Lists have one entry per sample."""

    problem: Problem  # without a level it has level 0, without a gold answer its answer is None
    texts: list[str]  # the solutions
    answers: list[str | None]  # None where no answer was found
    scores: list[Any] | None  # a score or a list of scores per sample, unchecked; None without
    tokens: list[Any] | None = None  # numbers of tokens; negative or None where unknown
    first_number: int = 0  # of the samples


def _qwen(record: Record) -> ExternalRow:
    row = record.row
    texts = _texts(record, "code")
    problem = _problem(record, "question", f"qwen/{row.get('idx', record.number)}", gold="gt")
    if row.get("pred") is None:
        answers = [_answer(text) for text in texts]
    else:
        extracted = _list(record, "pred", length=len(texts))
        answers = [None if a is None else str(a).strip() or None for a in extracted]
    return ExternalRow(problem, texts, answers, _scores(record, "pred_score", len(texts)))


def _search_and_learn(record: Record) -> ExternalRow:
    texts = _texts(record, "completions")
    problem = _problem(record, "problem", f"search-and-learn/{record.number}")
    tokens = record.row.get("completion_tokens")
    if not isinstance(tokens, list) or len(tokens) != len(texts):
        tokens = None  # one number in some versions, -1 for tree searches
    answers = [_answer(text) for text in texts]
    return ExternalRow(problem, texts, answers, _scores(record, "scores", len(texts)), tokens)


def _rlhflow(record: Record) -> ExternalRow:
    """The file has labels of the samples, not the gold answer: the most frequent right one is it.

    A problem whose samples are all wrong has no gold answer then.
    """
    texts = _texts(record, "answers")
    answers = [_answer(text) for text in texts]
    key = "labels" if "labels" in record.row else "label"
    problem = _problem(record, "prompt", f"rlhflow/{record.number}")
    if problem.answer is None and key in record.row:
        labels = _list(record, key, length=len(texts))
        right = Counter(a for a, ok in zip(answers, labels, strict=True) if ok and a is not None)
        problem = replace(problem, answer=max(right, key=right.__getitem__, default=None))
    return ExternalRow(problem, texts, answers, _scores(record, "step_scores", len(texts)))


def _official(record: Record) -> ExternalRow:
    row = record.row
    for key, kind in {"idx": int, "sample_idx": int, "prompt": str, "output": str}.items():
        if not isinstance(row.get(key), kind):
            what = "number" if kind is int else "text"
            raise InputError(f"no {what} under {key!r}", where=record.where)
    prompt, output = _PROMPT.fullmatch(row["prompt"]), row["output"]
    question = prompt["question"].strip() if prompt else row["prompt"]
    asked = record._replace(row={**row, "prompt": question})
    problem = _problem(asked, "prompt", f"official/{row['idx']}")
    scores = [_list(record, "reward")] if "reward" in row else None
    answers = [template.parse(output).answer]
    return ExternalRow(problem, [output], answers, scores, first_number=row["sample_idx"])


# The parser of a format's rows, and the scale of its scores.
FORMATS: dict[ImportFormat, tuple[Callable[[Record], ExternalRow], Scale]] = {
    "qwen": (_qwen, "unknown"),
    "search-and-learn": (_search_and_learn, "probability"),
    "rlhflow": (_rlhflow, "probability"),
    "official": (_official, "logit"),
}


def _problem(record: Record, question: str, default_id: str, *, gold: str = "answer") -> Problem:
    row = record.row
    if not isinstance(row.get(question), str) or not row[question].strip():
        raise InputError(f"no text under {question!r}", where=record.where)
    level = row.get("level")
    fields = {key: row[key] for key in ("id", "unique_id", "solution") if row.get(key) is not None}
    fields |= {
        "problem": row[question],
        "answer": row.get(gold, row.get("answer")),
        "level": UNKNOWN_LEVEL if level is None else level,
        "subject": row.get("subject") or row.get("type") or "unknown",
    }
    source = default_id.partition("/")[0]
    return problem_from_row(fields, default_id=default_id, source=source, where=record.where)


def _list(record: Record, key: str, *, length: int | None = None) -> list[Any]:
    value = record.row.get(key)
    if not isinstance(value, list):
        raise InputError(f"no list under {key!r}", where=record.where)
    if length is not None and len(value) != length:
        message = f"{len(value)} entries under {key!r}, but {length} solutions in the row"
        raise InputError(message, where=record.where)
    return value


def _texts(record: Record, key: str) -> list[str]:
    value = _list(record, key)
    if not all(isinstance(item, str) for item in value):
        raise InputError(f"{key!r} is not a list of texts", where=record.where)
    return value


def _scores(record: Record, key: str, length: int) -> list[Any] | None:
    return None if record.row.get(key) is None else _list(record, key, length=length)


def _answer(text: str) -> str | None:
    text = text.replace(STEP_MARK, "")
    in_template = None if r"\boxed{" in text else template.parse(text).answer
    return (in_template or stated_answer(text) or "").strip() or None
