"""Imports samples and scores that other projects wrote; see ``external_formats`` for the formats.

The last score of a sample's list becomes the outcome score, the others the step scores:
``voting.aggregate`` puts them together again, so min, prod and the rest see exactly the scores of
the file. (With its default flags the paper's released scorer reads no score at the answer: its last
score is that of the last step.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, SCORE_SCHEMA
from e2h_cli.data import prompt_styles
from e2h_cli.data.external_formats import FORMATS, UNKNOWN_LEVEL, ExternalRow, ImportFormat, Scale
from e2h_cli.data.external_rows import read_file_or_hub
from e2h_cli.data.problem import Problem, normalize_question
from e2h_cli.data.prompt_styles import PromptStyle

# The score of a sample without one: finite, since the difference of two infinities is not a number,
# and so low that the sample is chosen last and its sigmoid is zero.
LOWEST_SCORE = float(np.finfo(np.float32).min)

_ROWS_PER_BATCH = 16_384


@dataclass(frozen=True, slots=True)
class ImportedSamples:
    """The content of a file of another project.

    A problem without a level in the file has level 0, which is neither easy nor hard, without a
    subject "unknown", without a gold answer None; ``match_problems`` takes all three from known
    problems. Of a sample ``finish_reason`` is "stop" where an answer was found, else "unknown";
    ``tokens`` is null where the file does not say; ``logprob`` is always null.
    """

    problems: list[Problem]  # in the order of the file (official: of ``idx``)
    samples: pa.Table  # ``SAMPLE_SCHEMA``, problem by problem, by sample number
    scores: pa.Table | None  # ``SCORE_SCHEMA`` in the same order
    scale: Scale  # also "unknown" if supposed probabilities are not in [0, 1]
    counts: dict[str, int]  # what was read, and what is missing


def import_samples(layout: ImportFormat, file: str | Path) -> ImportedSamples:
    """Read JSON lines, a JSON array, Parquet or a data set (``hub_data``) in another's format.

    Of a sample that is repeated (the paper's released sampler pads its batches) the first is kept.
    A sample without a score takes part in majority voting and gets the lowest score: 0 as a
    probability, else ``LOWEST_SCORE``.

    Raises InputError, with line or row and key: one that is missing or of the wrong type, lists of
    unequal length, a duplicate problem, a score that is no finite number, rows with and without.
    """
    parse, scale = FORMATS[layout]
    tables = _Tables(one_sample_per_row=layout == "official")
    for record in read_file_or_hub(str(file)):
        tables.add(parse(record), record.where)
    if not tables.problems:
        raise InputError("no rows", where=file)
    return tables.finish(scale)


def match_problems(imported: ImportedSamples, known: Iterable[Problem]) -> ImportedSamples:
    """Replace the imported problems by the known problems with the same questions.

    Raises InputError for a question that is not known, or that two imported problems share.
    """
    # Of several known problems with one question the first counts.
    by_question = {normalize_question(p.problem): p for p in reversed([*known])}
    found = {p.id: by_question.get(normalize_question(p.problem)) for p in imported.problems}
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

    return replace(
        imported,
        problems=list(problems.values()),
        samples=renamed(imported.samples),
        scores=None if imported.scores is None else renamed(imported.scores),
    )


def read_as(imported: ImportedSamples, style: PromptStyle) -> ImportedSamples:
    """The imported samples in e2h's template; steps and answers are read as a wording has them."""
    texts = imported.samples["text"].to_pylist()
    answers = [prompt_styles.parse(style, text).answer for text in texts]
    columns = {
        "text": [style.in_template(text) for text in texts],
        "answer": answers,
        "finish_reason": ["unknown" if answer is None else "stop" for answer in answers],
    }
    samples = imported.samples
    for name, values in columns.items():
        place = samples.schema.get_field_index(name)
        samples = samples.set_column(place, name, pa.array(values, pa.string()))
    counts = {**imported.counts, "samples without answer": samples["answer"].null_count}
    return replace(imported, samples=samples, counts=counts)


class _Tables:
    """Collects samples and scores; only one batch of them is held as Python objects."""

    def __init__(self, *, one_sample_per_row: bool) -> None:
        self.problems: dict[str, Problem] = {}
        self._one_sample_per_row = one_sample_per_row
        self._seen: defaultdict[str, set[int]] = defaultdict(set)  # problem -> sample numbers
        self._has_scores: bool | None = None
        self._lowest, self._highest = np.inf, -np.inf
        # Rows that are in no table yet, and the tables: of samples, of scores.
        self._samples: list[dict[str, Any]] = []
        self._scores: list[dict[str, Any]] = []
        self._tables: list[tuple[pa.Table, pa.Table]] = []
        self._repeated = 0

    def add(self, row: ExternalRow, where: str) -> None:
        """Add the samples of a row; see ``import_samples`` for the errors."""
        key = row.problem.id
        if key in self.problems and not self._one_sample_per_row:
            raise InputError(f"duplicate problem {key!r}", where=where)
        if self.problems.setdefault(key, row.problem).problem != row.problem.problem:
            raise InputError(f"problem {key!r} has another question in an earlier row", where=where)
        if self._has_scores not in (None, row.scores is not None):
            raise InputError("some rows have scores and some have none", where=where)
        self._has_scores = row.scores is not None
        seen = self._seen[key]
        for i, (text, answer) in enumerate(zip(row.texts, row.answers, strict=True)):
            number = row.first_number + i
            if number in seen:
                self._repeated += 1
                continue
            seen.add(number)
            tokens = row.tokens[i] if row.tokens else None
            sample = {
                "id": key,
                "sample": number,
                "text": _utf8(text),
                "answer": None if answer is None else _utf8(answer),
                "finish_reason": "unknown" if answer is None else "stop",
                # search-and-learn writes -1 where it did not count them.
                "tokens": tokens if tokens is not None and tokens >= 0 else None,
                "logprob": None,
            }
            self._samples.append(sample)
            if row.scores is not None:
                scores = _finite(row.scores[i], where, number)
                self._lowest = min([self._lowest, *scores])
                self._highest = max([self._highest, *scores])
                outcome = scores.pop() if scores else None
                score = {"id": key, "sample": number, "step_scores": scores}
                self._scores.append(score | {"outcome_score": outcome})
        if len(self._samples) >= _ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        samples = pa.Table.from_pylist(self._samples, schema=SAMPLE_SCHEMA)
        scores = pa.Table.from_pylist(self._scores, schema=SCORE_SCHEMA)
        self._tables.append((samples, scores))
        self._samples, self._scores = [], []

    def finish(self, scale: Scale) -> ImportedSamples:
        """Everything that was added, in order. ``scale`` is that of the format."""
        self._flush()
        samples = pa.concat_tables(samples for samples, _ in self._tables)
        scores = pa.concat_tables(s for _, s in self._tables) if self._has_scores else None
        problems = list(self.problems.values())
        if self._one_sample_per_row:
            # The released scorer sorts samples by length, and their order decides ties.
            problems.sort(key=lambda p: int(p.id.partition("/")[2]))
            rank = {p.id: i for i, p in enumerate(problems)}
            ranks = [rank[key] for key in samples["id"].to_pylist()]
            order = np.lexsort((samples["sample"].to_numpy(), ranks))
            samples = samples.take(order)
            scores = None if scores is None else scores.take(order)
        if scale == "probability" and (self._lowest < 0 or self._highest > 1):
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
            lowest = 0.0 if scale == "probability" else LOWEST_SCORE
            filled = scores["outcome_score"].fill_null(lowest)
            scores = scores.set_column(3, SCORE_SCHEMA.field("outcome_score"), filled)
        return ImportedSamples(problems, samples, scores, scale, counts)


def _finite(scores: Any, where: str, sample: int) -> list[float]:
    try:
        values = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"scores of sample {sample} are not finite numbers", where=where)
    return [float(value) for value in values]


def _utf8(text: str) -> str:
    """Replace unpaired surrogates, which JSON can hold (a cut emoji) and Parquet cannot, by "?"."""
    return text.encode(errors="replace").decode()
