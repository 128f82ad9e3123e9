"""From characters to tokens: encoding a solution, and finding the tokens of its steps.

Training, scoring and RL share one rule: step k is scored at the token that holds the last character
of the separator after it. The tokens of step k are those after the score token of step k-1, up to
its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from e2h_cli.data.template import Solution, parse, token_of_character

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class EncodedSolution:
    """A question and its solution as the tokens of a model, with the scored positions.

    Attributes:
        input_ids: tokens.
        step_positions: for each step that a separator closes, the token at which it is scored.
        outcome_position: the token at which the whole solution is scored.
        solution_start: the first token of the solution; 0 if a reward model does not know it.
    """

    input_ids: list[int]
    step_positions: list[int]
    outcome_position: int
    solution_start: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCompletion(EncodedSolution):
    """A prompt and its completion in e2h's template.

    The outcome is scored at end-of-text, or at the last token of an unfinished solution.

    Attributes:
        offsets: (start, end) of every token in characters of prompt + completion, in order; empty
            for special tokens.
        solution: the parsed completion.
    """

    offsets: list[tuple[int, int]]
    solution: Solution

    def tokens_of_step(self, step: int) -> range:
        """The tokens of a closed step; ``len(step_positions)`` stands for the answer block."""
        start = self.step_positions[step - 1] + 1 if step else self.solution_start
        ends = [*self.step_positions, self.outcome_position]
        return range(start, ends[step] + 1)


def encode(
    tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str, *, finished: bool = True
) -> EncodedCompletion:
    """Encode a solution as a generator sees it, and find the tokens at which it is scored.

    ``completion`` is without end-of-text token; one is added unless ``finished`` is False, which
    says that the generator stopped at its token limit.

    Raises:
        ValueError: the tokenizer dropped the text at which a step is scored.
    """
    solution = parse(completion, finished=finished)
    shift = len(prompt)
    prompt_ids, prompt_offsets = _tokenize_prompt(tokenizer, prompt)
    ids, offsets = _tokenize(tokenizer, prompt + completion, special=True)
    if ids[: len(prompt_ids)] != prompt_ids:
        # A token crosses the end of the prompt. A generator is given the prompt alone, so its
        # completion is encoded alone, too.
        tail, tail_offsets = _tokenize(tokenizer, completion, special=False)
        ids = prompt_ids + tail
        offsets = prompt_offsets + [(a + shift, b + shift) for a, b in tail_offsets]
    step_positions = [
        token_at(offsets, shift + step.separator_end - 1)
        for step in solution.steps
        if step.separator_end is not None
    ]
    if finished and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        # Empty, and not (0, 0): spans are searched by their start.
        offsets.append((shift + len(completion),) * 2)
    return EncodedCompletion(
        ids, step_positions, len(ids) - 1, len(prompt_ids), offsets=offsets, solution=solution
    )


def token_at(offsets: list[tuple[int, int]], character: int) -> int:
    """Index of the token that holds a character, or of the last one before it.

    Tokenizers like BERT's drop newlines: there a step is scored at the last token of its text.
    Raises ValueError if there is no token there or before.
    """
    try:
        return token_of_character(offsets, character)
    except ValueError:
        before = [i for i, (start, end) in enumerate(offsets) if start < end <= character]
        if not before:
            raise
        return before[-1]


@lru_cache(maxsize=64)
def _tokenize_prompt(
    tokenizer: PreTrainedTokenizerFast, prompt: str
) -> tuple[list[int], list[tuple[int, int]]]:
    """Once for all solutions of a question, which follow each other."""
    return _tokenize(tokenizer, prompt, special=True)


def _tokenize(
    tokenizer: PreTrainedTokenizerFast, text: str, *, special: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids and character offsets, without end-of-text tokens at the end."""
    batch = tokenizer(text, return_offsets_mapping=True, add_special_tokens=special)
    ids, offsets = list(batch["input_ids"]), [(int(a), int(b)) for a, b in batch["offset_mapping"]]
    # Some tokenizers add end-of-text to every text; here only ``finished`` decides about it.
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
        offsets.pop()
    return ids, offsets
