"""Small tables of samples, scores and step labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from e2h_cli.common import parquet_store


def tables() -> tuple[pa.Table, pa.Table]:
    """Samples and scores of two problems; the last sample has no scored step."""
    rows = [
        ("a", 0, [0.9, 0.8], 0.7),
        ("a", 1, [0.9, 0.2], 0.1),
        ("b", 0, [0.6], 0.9),
        ("b", 1, [], 0.3),
    ]
    scores = pa.Table.from_pylist(
        [
            {"id": i, "sample": n, "step_scores": steps, "outcome_score": outcome}
            for i, n, steps, outcome in rows
        ],
        schema=parquet_store.SCORE_SCHEMA,
    )
    samples = pa.Table.from_pylist(
        [
            {"id": i, "sample": n, "text": "", "tokens": 10 + k}
            for k, (i, n, _, _) in enumerate(rows)
        ],
        schema=parquet_store.SAMPLE_SCHEMA,
    )
    return samples, scores


LABELS = [[True, True], [True, False, None], [None], [True]]


def many(problems: int = 60, each: int = 40) -> tuple[pa.Table, pa.Table, np.ndarray, list]:
    """Random samples, scores correlated with the labels, right answers, step labels."""
    rng = np.random.default_rng(0)
    sample_rows, score_rows, right, labels = [], [], [], []
    for p in range(problems):
        for n in range(each):
            wrong_from = rng.geometric(0.08 + 0.12 * (p % 2)) - 1
            own = [i < wrong_from for i in range(6)]
            steps = [float(rng.beta(4, 2) if ok else rng.beta(2, 3)) for ok in own]
            ok = all(own)
            outcome = float(rng.beta(3, 2) if ok else rng.beta(1.2, 3))
            key = {"id": f"p{p}", "sample": n}
            sample_rows.append({**key, "text": "", "tokens": 10})
            score_rows.append({**key, "step_scores": steps, "outcome_score": outcome})
            right.append(ok)
            labels.append(own)
    samples = pa.Table.from_pylist(sample_rows, schema=parquet_store.SAMPLE_SCHEMA)
    scores = pa.Table.from_pylist(score_rows, schema=parquet_store.SCORE_SCHEMA)
    return samples, scores, np.array(right), labels
