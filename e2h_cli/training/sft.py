"""Training rows of supervised fine-tuning: loss on the completion only."""

from __future__ import annotations

import numpy as np
from transformers import PreTrainedTokenizerFast

from e2h_cli.data.template import answer_header
from e2h_cli.models.token_spans import encode
from e2h_cli.training.token_rows import NO_LOSS, Row


def sft_row(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Row:
    """One training sequence; the prompt carries no loss.

    It ends with end-of-text if the completion ends with an answer. Otherwise the completion is a
    prefix of a solution, and nothing is said about its end.
    """
    encoded = encode(tokenizer, prompt, completion, finished=answer_header(completion) is not None)
    ids = np.array(encoded.input_ids, dtype=np.int32)
    labels = ids.copy()
    labels[: encoded.solution_start] = NO_LOSS
    return Row(ids, labels)
