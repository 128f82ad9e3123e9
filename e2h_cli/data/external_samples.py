"""Samples and scores that other projects wrote, as problems, samples and scores of this one.

| kind | written by | one row is | scores |
| --- | --- | --- | --- |
| qwen | Qwen2.5-Math ``evaluation/math_eval.py`` | a problem | ``pred_score``, any scale |
| search-and-learn | huggingface/search-and-learn | a problem | ``scores``, probabilities |
| rlhflow | RLHFlow ``math-rm/prm_evaluate.py`` | a problem | ``step_scores``, probabilities |
| official | the paper's own ``inference_reward.py`` | a sample | ``reward``, logits |

The last score of a list becomes the outcome score, the others the step scores: ``voting.aggregate``
puts them back together, so min, prod and the rest are taken over exactly the scores of the file.
(With its default flags the official scorer reads nothing at the answer: its last score is that of
the last step.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json, read_jsonl
from e2h_cli.data import template
from e2h_cli.data.problem import Problem, from_row, last_boxed, normalize_question

Kind = Literal["qwen", "search-and-learn", "rlhflow", "official"]
Scale = Literal["probability", "logit", "unknown"]

UNKNOWN_LEVEL = 0

# Stands for the score of a sample that its scorer gave none: finite, since the difference of two
# infinities is no number, and so low that it is chosen last and its sigmoid is zero.
LOWEST_SCORE = float(np.finfo(np.float32).min)

_ROWS_PER_BATCH = 16_384
_PROMPT = re.compile(r"\s*# Question\n(?P<question>.*)\n\s*# Solution\s*", re.DOTALL)
# MetaMath's last line; Math-Shepherd's step mark may stand after it.
_STATED = re.compile(r"[Tt]he answer is:?[ \t]*([^\n]*)")
_STEP_MARK = "ки"


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held.

    ``problems``: in the order of the file (official: of ``idx``). Where the file has no level it is
    0, which is neither easy nor hard, and the subject is "unknown"; where it has no gold answer it
    is None; ``match`` finds all three in a list of known problems. ``samples``: ``parts.SAMPLES``,
    problem by problem, by sample number; ``finish_reason`` is "stop" where an answer was found and
    "unknown" elsewhere, ``tokens`` null where the file does not say, ``logprob`` always null.
    ``scores``: ``parts.SCORES`` in the same order, or None. ``scale``: of the scores; "unknown"
    also where scores that should be probabilities are not in [0, 1]. ``counts``: what was read, and
    what was odd about it.
    """

    problems: list[Problem]
    samples: pa.Table
    scores: pa.Table | None
    scale: Scale
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Row:
    """Samples of one problem: texts, answers and the rest have one entry per sample."""

    problem: Problem
    numbers: list[int]
    texts: list[str]
    answers: list[str | None]
    scores: list[Any] | None
    tokens: list[Any] | None = None


def read_foreign(kind: Kind, file: Path) -> Imported:
    """Read a JSON-lines file, a JSON list or a Parquet file of another project.

    Answers are those that the format extracted itself (``pred`` of qwen, the text after
    ``# Answer`` of official), else the content of the last ``\\boxed{}``, else the text after
    ``# Answer``; rlhflow also knows "The answer is". Of a sample that stands twice, as the official
    sampler pads its batches, the first is kept. A sample without any score keeps its place in
    majority voting and gets the lowest score there is: 0 as a probability, ``LOWEST_SCORE``
    otherwise.

    JSON lines and Parquet are read row by row, a JSON list as a whole.

    Raises:
        InputError: file and line or row, and the key: one that is missing or of the wrong type,
            lists of unequal length, a problem that stands twice, a score that is no finite number,
            rows with and without scores.
    """
    read, scale = _FORMATS[kind]
    tables = _Tables(one_sample_per_row=kind == "official")
    for number, where, row in _rows(file):
        tables.add(read(row, number, where), where)
    if not tables.problems:
        raise InputError("no rows", where=file)
    return tables.finish(scale)


def match(imported: Imported, known: Iterable[Problem]) -> Imported:
    """The same samples under the ids, levels and gold answers of known problems.

    Problems are the same when their questions are, spacing and case aside.

    Raises:
        InputError: a question that is not known, or one that two problems of the file share.
    """
    by_text: dict[str, Problem] = {}
    for problem in known:
        by_text.setdefault(normalize_question(problem.problem), problem)
    found = {p.id: by_text.get(normalize_question(p.problem)) for p in imported.problems}
    unknown = [key for key, problem in found.items() if problem is None]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(found)} imported problems are not among the known ones, "
            f"{unknown[0]!r} first",
            hint="give the problems that the samples were drawn from with --problems",
        )
    problems = {key: problem for key, problem in found.items() if problem is not None}
    repeated = [key for key, n in Counter(p.id for p in problems.values()).items() if n > 1]
    if repeated:
        raise InputError(f"two imported problems have the question of {repeated[0]!r}")

    def renamed(table: pa.Table) -> pa.Table:
        ids = pa.array([problems[key].id for key in table["id"].to_pylist()], type=pa.string())
        return table.set_column(0, "id", ids)

    scores = None if imported.scores is None else renamed(imported.scores)
    return replace(
        imported, problems=list(problems.values()), samples=renamed(imported.samples), scores=scores
    )


class _Tables:
    """Collects rows; Python objects only ever hold one batch of them."""

    def __init__(self, *, one_sample_per_row: bool) -> None:
        self.problems: dict[str, Problem] = {}
        self._split = one_sample_per_row
        self._seen: dict[str, set[int]] = {}
        self._scored: bool | None = None
        self._range = (np.inf, -np.inf)
        self._samples: list[dict[str, Any]] = []
        self._scores: list[dict[str, Any]] = []
        self._sample_tables: list[pa.Table] = []
        self._score_tables: list[pa.Table] = []
        self._repeated = 0

    def add(self, row: _Row, where: str) -> None:
        """Add the samples of a row; see ``read_foreign`` for what is refused."""
        key = row.problem.id
        if key in self.problems and not self._split:
            raise InputError(f"problem {key!r} stands twice", where=where)
        if self.problems.setdefault(key, row.problem).problem != row.problem.problem:
            raise InputError(f"problem {key!r} has another question in an earlier row", where=where)
        if self._scored not in (None, row.scores is not None):
            raise InputError("some rows have scores and some have none", where=where)
        self._scored = row.scores is not None
        seen = self._seen.setdefault(key, set())
        for i, number in enumerate(row.numbers):
            if number in seen:
                self._repeated += 1
                continue
            seen.add(number)
            keys = {"id": key, "sample": number}
            answer = row.answers[i]
            tokens = row.tokens[i] if row.tokens else None
            self._samples.append(
                {
                    **keys,
                    "text": _utf8(row.texts[i]),
                    "answer": None if answer is None else _utf8(answer),
                    "finish_reason": "unknown" if answer is None else "stop",
                    # search-and-learn writes -1 where it did not count them.
                    "tokens": tokens if tokens is not None and tokens >= 0 else None,
                    "logprob": None,
                }
            )
            if row.scores is not None:
                scores = _finite(row.scores[i], where, number)
                low, high = self._range
                self._range = (min([low, *scores]), max([high, *scores]))
                outcome = scores.pop() if scores else None
                self._scores.append({**keys, "step_scores": scores, "outcome_score": outcome})
        if len(self._samples) >= _ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        self._sample_tables.append(
            pa.Table.from_pylist(self._samples, schema=parquet_store.SAMPLE_SCHEMA)
        )
        self._score_tables.append(
            pa.Table.from_pylist(self._scores, schema=parquet_store.SCORE_SCHEMA)
        )
        self._samples, self._scores = [], []

    def finish(self, scale: Scale) -> Imported:
        """Everything that was added, in order."""
        self._flush()
        samples = pa.concat_tables(self._sample_tables)
        scores = pa.concat_tables(self._score_tables) if self._scored else None
        problems = list(self.problems.values())
        if self._split:
            # The official scorer sorts samples by length, and their order decides ties.
            problems.sort(key=lambda p: int(p.id.partition("/")[2]))
            rank = {p.id: i for i, p in enumerate(problems)}
            order = np.lexsort(
                (samples["sample"].to_numpy(), [rank[key] for key in samples["id"].to_pylist()])
            )
            samples = samples.take(order)
            scores = None if scores is None else scores.take(order)
        low, high = self._range
        if scale == "probability" and (low < 0 or high > 1):
            scale = "unknown"
        counts = {
            "problems": len(problems),
            "samples": samples.num_rows,
            "repeated rows left out": self._repeated,
            "samples without answer": samples["answer"].null_count,
            "samples without score": 0 if scores is None else scores["outcome_score"].null_count,
            "problems without gold answer": sum(p.answer is None for p in problems),
            "problems without level": sum(p.level == UNKNOWN_LEVEL for p in problems),
        }
        if scores is not None:
            filler = 0.0 if scale == "probability" else LOWEST_SCORE
            filled = scores["outcome_score"].fill_null(filler)
            scores = scores.set_column(3, parquet_store.SCORE_SCHEMA.field("outcome_score"), filled)
        return Imported(problems, samples, scores, scale, counts)


def _qwen(row: dict[str, Any], number: int, where: str) -> _Row:
    texts = _list(row, "code", where, of=str)
    problem = _problem(row, "question", f"qwen/{row.get('idx', number)}", where, gold="gt")
    given = row.get("pred") is not None
    preds = _list(row, "pred", where, length=len(texts)) if given else map(_boxed, texts)
    answers = [str(a).strip() or None if a is not None else None for a in preds]
    scores = _scores(row, "pred_score", where, len(texts))
    return _Row(problem, list(range(len(texts))), texts, answers, scores)


def _search_and_learn(row: dict[str, Any], number: int, where: str) -> _Row:
    texts = _list(row, "completions", where, of=str)
    problem = _problem(row, "problem", f"search-and-learn/{number}", where)
    tokens = row.get("completion_tokens")
    if not isinstance(tokens, list) or len(tokens) != len(texts):
        tokens = None  # one number in some versions, -1 for tree searches
    answers = [_boxed(text) for text in texts]
    scores = _scores(row, "scores", where, len(texts))
    return _Row(problem, list(range(len(texts))), texts, answers, scores, tokens)


def _rlhflow(row: dict[str, Any], number: int, where: str) -> _Row:
    """The file knows which samples are right, not the gold answer: the commonest right one is it.

    A problem whose samples are all wrong has no gold answer then.
    """
    texts = _list(row, "answers", where, of=str)
    answers = [_boxed(text) or _stated(text) for text in texts]
    key = "labels" if "labels" in row else "label"
    problem = _problem(row, "prompt", f"rlhflow/{number}", where)
    if problem.answer is None and key in row:
        labels = _list(row, key, where, length=len(texts))
        right = Counter(a for a, ok in zip(answers, labels, strict=True) if ok and a is not None)
        gold = right.most_common(1)[0][0] if right else None
        problem = replace(problem, answer=gold)
    scores = _scores(row, "step_scores", where, len(texts))
    return _Row(problem, list(range(len(texts))), texts, answers, scores)


def _official(row: dict[str, Any], number: int, where: str) -> _Row:
    for key, kind in {"idx": int, "sample_idx": int, "prompt": str, "output": str}.items():
        if not isinstance(row.get(key), kind):
            raise InputError(f"no {'number' if kind is int else 'text'} under {key!r}", where=where)
    prompt = _PROMPT.fullmatch(row["prompt"])
    question = prompt["question"].strip() if prompt else row["prompt"]
    problem = _problem({**row, "prompt": question}, "prompt", f"official/{row['idx']}", where)
    answer = template.parse(row["output"]).answer
    scores = [_list(row, "reward", where)] if "reward" in row else None
    return _Row(problem, [row["sample_idx"]], [row["output"]], [answer], scores)


_FORMATS: dict[Kind, tuple[Callable[[dict[str, Any], int, str], _Row], Scale]] = {
    "qwen": (_qwen, "unknown"),
    "search-and-learn": (_search_and_learn, "probability"),
    "rlhflow": (_rlhflow, "probability"),
    "official": (_official, "logit"),
}


def _problem(
    row: dict[str, Any], question: str, default_id: str, where: str, *, gold: str = "answer"
) -> Problem:
    if not isinstance(row.get(question), str) or not row[question].strip():
        raise InputError(f"no text under {question!r}", where=where)
    level = row.get("level")
    kept = {key: row[key] for key in ("id", "unique_id", "solution") if row.get(key) is not None}
    kept |= {
        "problem": row[question],
        "answer": row.get(gold, row.get("answer")),
        "level": UNKNOWN_LEVEL if level is None else level,
        "subject": row.get("subject") or row.get("type") or "unknown",
    }
    return from_row(kept, default_id=default_id, source=default_id.partition("/")[0], where=where)


def _list(
    row: dict[str, Any], key: str, where: str, *, of: type | None = None, length: int | None = None
) -> list[Any]:
    value = row.get(key)
    if not isinstance(value, list):
        raise InputError(f"no list under {key!r}", where=where)
    if of is not None and not all(isinstance(item, of) for item in value):
        raise InputError(f"{key!r} is not a list of texts", where=where)
    if length is not None and len(value) != length:
        raise InputError(
            f"{len(value)} entries under {key!r}, but {length} solutions in the row", where=where
        )
    return value


def _scores(row: dict[str, Any], key: str, where: str, length: int) -> list[Any] | None:
    return None if row.get(key) is None else _list(row, key, where, length=length)


def _finite(scores: Any, where: str, sample: int) -> list[float]:
    try:
        values = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"scores of sample {sample} are not finite numbers", where=where)
    return [float(value) for value in values]


def _utf8(text: str) -> str:
    """JSON can hold half characters (a cut emoji), which Parquet cannot: "?" for them."""
    return text.encode(errors="replace").decode()


def _boxed(text: str) -> str | None:
    boxed = last_boxed(text)
    if boxed is None:
        return template.parse(text).answer
    return boxed.strip() or None


def _stated(text: str) -> str | None:
    found = _STATED.findall(text)
    return (found[-1].replace(_STEP_MARK, "").strip(" \t.") or None) if found else None


def _rows(file: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(number from 1, place for messages, row) of each row."""
    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as table:
                # A row holds all the samples of a problem: megabytes of text.
                batches = (b.to_pylist() for b in table.iter_batches(batch_size=8))
                for number, row in enumerate(chain.from_iterable(batches), 1):
                    yield number, f"{file} row {number}", row
            return
        with file.open(encoding="utf-8") as stream:
            is_list = stream.read(1024).lstrip().startswith("[")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read: {str(error).splitlines()[0]}", where=file) from error
    if not is_list:
        yield from ((number, f"{file}:{number}", row) for number, row in read_jsonl(file))
        return
    for number, row in enumerate(read_json(file), 1):
        if not isinstance(row, dict):
            raise InputError("not a JSON object", where=f"{file} row {number}")
        yield number, f"{file} row {number}", row
