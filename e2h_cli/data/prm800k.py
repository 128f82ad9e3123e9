"""PRM800K: solutions whose steps people have rated +1, 0 or -1, with alternatives to each step.

At each step some completions were rated; one of them, or a text by the labeller, was chosen, and
the solution was continued from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.reference_solutions import TITLES
from e2h_cli.data.training_rows import labelled_row

Neutral = Literal["positive", "unlabelled", "negative"]


class Completion(NamedTuple):
    """A completion: its step (maybe empty), its answer (maybe none), and its rating."""

    step: str
    answer: str | None
    rating: int | None

    @property
    def blocks(self) -> list[str]:
        """The step and the answer block that it adds to a solution."""
        answer = [] if self.answer is None else [template.answer_block(self.answer)]
        return ([self.step] if self.step else []) + answer


class RatedStep(NamedTuple):
    """The completions that were rated, and the one that was chosen; None where none was."""

    completions: list[Completion]
    chosen: Completion | None


class RatedSolution(NamedTuple):
    """A question and the rated steps of its solution."""

    question: str
    steps: list[RatedStep]


def parse_record(record: dict[str, Any], where: str) -> RatedSolution:
    """Parse a record of PRM800K. Raises InputError where it is none.

    Chosen is the completion that the record names, else the labeller's own text, else the only
    completion, else none: there the solution ends.
    """
    try:
        question = record["question"]["problem"]
        steps = []
        for step in record["label"]["steps"]:
            completions = [_completion(c["text"], c["rating"]) for c in step["completions"] or []]
            index, human = step["chosen_completion"], step["human_completion"]
            chosen = None
            if index is not None:
                chosen = completions[index]
            elif human is not None:
                chosen = _completion(human["text"], None)
            elif len(completions) == 1:
                chosen = completions[0]
            steps.append(RatedStep(completions, chosen))
            if chosen is None or chosen.answer is not None:
                break
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"not a record of PRM800K ({error!r})", where=where) from error
    return RatedSolution(question, steps)


def _completion(text: str, rating: int | None) -> Completion:
    # The header is glued to the end of some steps.
    step, _, answer = text.partition(template.ANSWER_HEADER)
    return Completion(template.one_line(step), template.one_line(answer) or None, rating)


def sft_rows(key: str, solution: RatedSolution) -> Iterator[dict[str, Any]]:
    """A row for every completion rated +1, after the chosen steps before it.

    Steps of other ratings may stand in the prompt; none is trained on (paper p.19). Consecutive
    chosen steps rated +1 are one completion.
    """
    before: list[str] = []  # chosen blocks that are not trained on here
    run: list[str] = []  # chosen blocks after them, all rated +1

    def row(prefix: list[str], blocks: list[str]) -> dict[str, Any]:
        prompt = template.prompt(solution.question) + template.SEPARATOR.join([*prefix, ""])
        return {"id": key, "prompt": prompt, "completion": template.SEPARATOR.join(blocks)}

    for completions, chosen in solution.steps:
        for completion in completions:
            if completion is not chosen and completion.rating == 1 and completion.blocks:
                yield row([*before, *run], completion.blocks)
        if chosen is None:
            break
        if chosen.rating == 1:
            run += chosen.blocks
        else:
            if run:
                yield row(before, run)
            before, run = [*before, *run, *chosen.blocks], []
    if run:
        yield row(before, run)


def prm_rows(key: str, solution: RatedSolution, neutral: Neutral) -> Iterator[dict[str, Any]]:
    """Rows of all rated completions: one per alternative, one of the chosen steps (paper p.30).

    The chosen steps have no label in the row of an alternative, so each rating is trained on once.
    Rating -1 is wrong, +1 right, 0 as ``neutral`` says.
    """
    zero = {"positive": True, "unlabelled": None, "negative": False}[neutral]

    def label_of(rating: int | None) -> bool | None:
        return rating > 0 if rating else zero if rating == 0 else None

    blocks: list[str] = []
    labels: list[bool | None] = []
    for completions, chosen in solution.steps:
        for completion in completions:
            label, added = label_of(completion.rating), completion.blocks
            if completion is not chosen and label is not None and added:
                texts = _joined(blocks, added)
                marks = [None] * (len(texts) - len(added)) + [label] * len(added)
                yield labelled_row(key, solution.question, texts, marks)
        if chosen is None:
            break
        blocks = _joined(blocks, chosen.blocks)
        # A step that was glued to the one before it takes its label over.
        labels = labels[: len(blocks) - len(chosen.blocks)]
        labels += [label_of(chosen.rating)] * (len(blocks) - len(labels))
    if any(label is not None for label in labels):
        yield labelled_row(key, solution.question, blocks, labels)


def _joined(blocks: list[str], more: list[str]) -> list[str]:
    """Append blocks; a step that was cut after "Mr." is glued together again."""
    if blocks and more and blocks[-1].endswith(TITLES):
        return [*blocks[:-1], f"{blocks[-1]} {more[0]}", *more[1:]]
    return [*blocks, *more]
