"""Math-Shepherd's PRM: P(+) against P(-) at a mark after each step."""

from __future__ import annotations

from itertools import accumulate

from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.models.reward_formats.shared_heads import steps_with_answer
from e2h_cli.models.token_spans import EncodedSolution

_MARK = "ки"


def encode_math_shepherd(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the mark after it; the last mark scores the outcome."""
    steps = steps_with_answer(text, finished)
    lines = [f"Step {i}: {step} {_MARK}" for i, step in enumerate(steps, 1)]
    batch = tokenizer(f"{question} " + "\n".join(lines), return_offsets_mapping=True)
    # Where each line ends, in characters: a newline or a space stands between all parts.
    ends = list(accumulate(len(part) + 1 for part in [question, *lines]))[1:]
    *marks, last = [template.token_of_character(batch["offset_mapping"], end - 2) for end in ends]
    return EncodedSolution(list(batch["input_ids"]), marks, last)
