"""From characters to tokens: encoding a solution, and finding the tokens of its steps.

One rule serves training, scoring and RL: step k is read at the token that holds the last character
of the separator after it, and owns the tokens from the one after step k-1's up to its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2h_cli.data.template import Solution, parse, token_of_character

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


def _tokens(
    tokenizer: PreTrainedTokenizerFast, text: str, *, special: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    batch = tokenizer(text, return_offsets_mapping=True, add_special_tokens=special)
    ids, offsets = list(batch["input_ids"]), [(int(a), int(b)) for a, b in batch["offset_mapping"]]
    # Some tokenizers close every text themselves; whether a solution is closed is ours to say.
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
        offsets.pop()
    return ids, offsets


def token_at(offsets: list[tuple[int, int]], character: int) -> int:
    """The token that holds a character, or the last one before it.

    Tokenizers as BERT's drop newlines: there a step is read at the last token of its text.
    """
    try:
        return token_of_character(offsets, character)
    except ValueError:
        before = [i for i, (start, end) in enumerate(offsets) if start < end <= character]
        if not before:
            raise
        return before[-1]


def encode(
    tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str, *, finished: bool = True
) -> Encoded:
    """Encode a solution as a generator sees it, and find where its steps are read.

    Raises:
        ValueError: the tokenizer lost the text that a step is read at.
    """
    solution = parse(completion, finished=finished)
    shift = len(prompt)
    head, head_offsets = _tokens(tokenizer, prompt, special=True)
    ids, offsets = _tokens(tokenizer, prompt + completion, special=True)
    if ids[: len(head)] != head:
        # A token reaches over the end of the prompt. A generator is given the prompt alone, so
        # what it writes is encoded alone, too.
        tail, tail_offsets = _tokens(tokenizer, completion, special=False)
        ids, offsets = head + tail, head_offsets + [(a + shift, b + shift) for a, b in tail_offsets]
    start = len(head)
    step_tokens = [
        token_at(offsets, shift + step.separator_end - 1)
        for step in solution.steps
        if step.separator_end is not None
    ]
    if finished and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        offsets.append((0, 0))
    return Encoded(ids, offsets, start, solution, step_tokens, len(ids) - 1)
