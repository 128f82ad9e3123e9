"""From characters to tokens: encoding a solution, and finding the tokens of its steps.

One rule serves training, scoring and RL: step k is read at the token that holds the last character
of the separator after it, and owns the tokens from the one after step k-1's up to its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2h_cli.solution import Solution, parse, token_of_character

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt and its completion as one token sequence.

    ``ids``: tokens, end-of-text at the end if the solution is finished; ``offsets``: their
    character spans in prompt + completion, (0, 0) for special tokens; ``start``: index of the first
    token of the completion; ``step_tokens``: where each closed step is read; ``last``: where the
    outcome is read: end-of-text, or the last token of an unfinished solution.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    start: int
    solution: Solution
    step_tokens: list[int]
    last: int

    def tokens_of_step(self, step: int) -> range:
        """The tokens that a closed step owns; ``len(step_tokens)`` stands for the answer block."""
        begin = self.step_tokens[step - 1] + 1 if step else self.start
        end = self.step_tokens[step] if step < len(self.step_tokens) else self.last
        return range(begin, end + 1)


def encode(
    tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str, *, finished: bool = True
) -> Encoded:
    """Encode a solution and find where its steps are read.

    Raises:
        ValueError: the tokenizer lost the text that a step is read at.
    """
    solution = parse(completion, finished=finished)
    batch = tokenizer(prompt + completion, return_offsets_mapping=True, add_special_tokens=True)
    ids, offsets = list(batch["input_ids"]), [(int(a), int(b)) for a, b in batch["offset_mapping"]]
    # Some tokenizers close every text themselves; whether this one is closed is ours to say.
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
        offsets.pop()
    shift = len(prompt)
    start = next((i for i, (_, end) in enumerate(offsets) if end > shift), len(ids))
    step_tokens = [
        token_of_character(offsets, shift + step.separator_end - 1)
        for step in solution.steps
        if step.separator_end is not None
    ]
    if finished and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        offsets.append((0, 0))
    return Encoded(ids, offsets, start, solution, step_tokens, len(ids) - 1)
