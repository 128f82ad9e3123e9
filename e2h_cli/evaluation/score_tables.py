"""Tables of scores (``SCORE_SCHEMA``: step scores and outcome score of each sample) as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from scipy.special import expit

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import KEY_COLUMNS
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.statistics import Floats, Ints
from e2h_cli.evaluation.voting import aggregate


def step_arrays(scores: pa.Table) -> tuple[Floats, Ints]:
    """Step scores of all rows, concatenated, and (rows,) the number of steps of each."""
    steps = scores["step_scores"].combine_chunks()
    lengths = np.asarray(steps.value_lengths(), dtype=np.int64)
    return np.asarray(steps.flatten(), dtype=np.float64), lengths


def aggregate_rows(scores: pa.Table, aggregation: str) -> Floats:
    """(rows,) one score per sample, of its step scores and then its outcome score."""
    return aggregate(*_all_scores(scores), aggregation)


def _all_scores(scores: pa.Table) -> tuple[Floats, Ints]:
    """Step scores and then the outcome score of each row, concatenated; their numbers."""
    steps, lengths = step_arrays(scores)
    outcome = np.asarray(scores["outcome_score"], dtype=np.float64)
    return np.insert(steps, np.cumsum(lengths), outcome), lengths + 1


def take_keys(table: pa.Table, keys: Iterable[tuple[str, int]]) -> pa.Table:
    """The rows of some (id, sample) keys, in the order of the keys.

    InputError if a key has no row, or the table has two rows of one sample.
    """
    keys = list(keys)
    wanted = [pa.array([key[i] for key in keys], table.schema.field(name).type)
              for i, name in enumerate(KEY_COLUMNS)]  # fmt: skip
    if table.select(KEY_COLUMNS).equals(pa.table(wanted, KEY_COLUMNS)):
        return table  # as scores of the same samples are: nothing to look up
    columns = (table[name].to_pylist() for name in KEY_COLUMNS)
    row = {key: i for i, key in enumerate(zip(*columns, strict=True))}
    if len(row) < table.num_rows:
        raise InputError("a sample stands twice in a table of samples or scores")
    try:
        return table.take([row[key] for key in keys])
    except KeyError as error:
        problem, sample = error.args[0]
        raise InputError(f"sample {sample} of {problem!r} has no score") from error


def aggregate_scores(
    scores: pa.Table, groups: Sequence[SampleGroup], aggregation: str
) -> list[Floats]:
    """Aggregated scores (N,) of the samples of each group, joined by (id, sample)."""
    return scores_by_aggregation(scores, groups, [aggregation])[aggregation]


def scores_by_aggregation(
    scores: pa.Table, groups: Sequence[SampleGroup], aggregations: Iterable[str]
) -> dict[str, list[Floats]]:
    """``aggregate_scores`` under several aggregations; the join is made once."""
    keys = [key for group in groups for key in group.keys]
    values, lengths = _all_scores(take_keys(scores, keys))
    ends = np.cumsum([group.size for group in groups])[:-1]
    return {name: np.split(aggregate(values, lengths, name), ends) for name in aggregations}


def sigmoid(scores: pa.Table) -> pa.Table:
    """Logits to probabilities; the table keeps its schema."""
    steps, lengths = step_arrays(scores)
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    outcomes = expit(np.asarray(scores["outcome_score"], dtype=np.float64))
    step_scores = pa.ListArray.from_arrays(offsets, pa.array(expit(steps), pa.float32()))
    columns = [scores["id"], scores["sample"], step_scores, pa.array(outcomes, pa.float32())]
    return pa.table(columns, schema=parquet_store.SCORE_SCHEMA)


def require_probabilities(scale: str, method: str, aggregates: Sequence[str]) -> None:
    """Raise InputError for methods that need probabilities where the scores are not.

    Best-of-n takes any scale; sums of scores, products and odds do not. ``scale``: of the scores,
    "probability", "logit" or "unknown"; ``method``: voting method.
    """
    if scale == "probability" or method == "majority":
        return
    refused = sorted({"prod", "mean_logit", "mean_odd"} & set(aggregates))
    if method == "weighted-voting":
        refused = ["weighted voting"]
    if refused:
        raise InputError(
            f"{', '.join(refused)} needs probabilities, and these scores are of {scale} scale",
            hint="give --transform sigmoid if they are logits, or take --method best-of-n",
        )
