"""Tokens per label: whole solutions with labels at every step, against one row per step.

python -m benchmarks.training [--rows FOLDER]

--rows: a supervise stage, as runs/experiment-tiny/supervise; without it, solutions of the
chain-arithmetic world are made and labelled.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from e2h_cli.data import chain_arithmetic, template
from e2h_cli.models import tiny
from e2h_cli.stages.train_rm import labelled_rows
from e2h_cli.training.reward_modeling import reward_row
from e2h_cli.training.token_rows import LengthGrouped

TARGET = 3.0
_BATCH = 32


def main() -> None:
    """Print tokens per label both ways, the ratio, and the padding of the batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", help="a supervise stage with prm.jsonl")
    options = parser.parse_args()
    tokenizer = tiny.tokenizer()
    rows = list(labelled_rows([options.rows], "prm")) if options.rows else _made(2000)
    labels = sum(label is not None for row in rows for label in row["labels"])
    lengths = [len(reward_row(tokenizer, row, "every-token").input_ids) for row in rows]
    per_step = sum(
        len(
            tokenizer(
                row["prompt"] + template.SEPARATOR.join(row["completions"][: k + 1])
            ).input_ids
        )
        for row in rows
        for k, label in enumerate(row["labels"])
        if label is not None
    )
    ours, theirs = sum(lengths) / labels, per_step / labels
    ratio = theirs / ours
    order = list(LengthGrouped(lengths, _BATCH, 0))
    padded = sum(
        max(lengths[i] for i in order[at : at + _BATCH]) * len(order[at : at + _BATCH])
        for at in range(0, len(order), _BATCH)
    )
    print(f"{len(rows):,} solutions, {labels:,} labels")
    print(f"whole solutions: {ours:.1f} tokens per label; one row per step: {theirs:.1f}")
    print(f"ratio {ratio:.1f} (target {TARGET}){'' if ratio >= TARGET else '   BELOW TARGET'}")
    print(f"padding in batches of {_BATCH}: {100 * (1 - sum(lengths) / padded):.1f} %")


def _made(count: int) -> list[dict[str, Any]]:
    rng = random.Random(0)
    rows = []
    for i in range(count):
        chain = chain_arithmetic.draw(1 + i % 5, rng)
        steps, answer = chain_arithmetic.solve(chain)
        rows.append(
            {
                "id": str(i),
                "prompt": template.prompt(chain.question),
                "completions": [*steps, template.answer_block(answer)],
                "labels": [True] * (len(steps) + 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
