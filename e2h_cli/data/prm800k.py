"""PRM800K: solutions whose steps people have rated +1, 0 or -1, with alternatives to each step.

One record is a walk: at every place some completions were rated, and one of them, or a text by the
labeller, was chosen to go on from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.step_splitting import TITLES

Neutral = Literal["positive", "unlabelled", "negative"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A completion: its step (maybe empty), its answer (maybe none), and its rating."""

    step: str
    answer: str | None
    rating: int | None

    @property
    def blocks(self) -> list[str]:
        """The texts that it adds to a solution."""
        answer = [] if self.answer is None else [template.answer_block(self.answer)]
        return ([self.step] if self.step else []) + answer


def walk(record: dict[str, Any], where: str) -> tuple[str, list[tuple[list[Piece], Piece | None]]]:
    """The question, and for each place the rated completions and the one that was gone on from.

    Next is the chosen completion, else the labeller's own, else the only one, else nothing: there
    the walk ends.

    Raises:
        InputError: a record of another form.
    """
    try:
        question = record["question"]["problem"]
        places = []
        for step in record["label"]["steps"]:
            pieces = [_piece(c["text"], c["rating"]) for c in step["completions"] or []]
            chosen, human = step["chosen_completion"], step["human_completion"]
            following = None
            if chosen is not None:
                following = pieces[chosen]
            elif human is not None:
                following = _piece(human["text"], None)
            elif len(pieces) == 1:
                following = pieces[0]
            places.append((pieces, following))
            if following is None or following.answer is not None:
                break
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"not a record of PRM800K ({error!r})", where=where) from error
    return question, places


def _piece(text: str, rating: int | None) -> Piece:
    header = template.answer_header(text)
    if header is None:
        return Piece(template.one_line(text), None, rating)
    body, answer = text[: header[0]], template.one_line(text[header[1] :])
    return Piece(template.one_line(body), answer or None, rating)


def sft_rows(key: str, record: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Completions rated +1, every one of them, each after the steps that were gone on from.

    Steps of other ratings may stand in the prompt; none is trained on (paper p.19). Rated steps in
    a row are one completion. Only a completion that ends with an answer ends the text.
    """
    question, places = walk(record, where)
    prompt = template.prompt(question)
    run: list[str] = []
    path: list[str] = []

    def row(before: list[str], blocks: list[str]) -> dict[str, Any]:
        head = "".join(block + template.SEPARATOR for block in before)
        completion = template.SEPARATOR.join(blocks)
        return {"id": key, "prompt": prompt + head, "completion": completion}

    for pieces, following in places:
        for piece in pieces:
            if piece is not following and piece.rating == 1 and piece.blocks:
                yield row([*path, *run], piece.blocks)
        if following is None:
            break
        if following.rating == 1:
            run += following.blocks
        else:
            if run:
                yield row(path, run)
            path, run = [*path, *run, *following.blocks], []
    if run:
        yield row(path, run)


def prm_rows(
    key: str, record: dict[str, Any], neutral: Neutral, where: str
) -> Iterator[dict[str, Any]]:
    """All rated completions: the walk as one row, each alternative as another (paper p.30).

    In the row of an alternative the steps before it have no label, so that nothing is trained on
    twice. Rating -1 is wrong, +1 right, 0 as ``neutral`` says.
    """
    question, places = walk(record, where)
    blocks: list[str] = []
    labels: list[bool | None] = []

    def row(texts: list[str], marks: list[bool | None]) -> dict[str, Any]:
        prompt = template.prompt(question)
        return {"id": key, "prompt": prompt, "completions": texts, "labels": marks}

    for pieces, following in places:
        for piece in pieces:
            label = label_of(piece.rating, neutral)
            if piece is following or label is None or not piece.blocks:
                continue
            texts = _joined(blocks, piece.blocks)
            marks: list[bool | None] = [None] * len(texts)
            marks[-len(piece.blocks) :] = [label] * len(piece.blocks)
            yield row(texts, marks)
        if following is None:
            break
        label = label_of(following.rating, neutral)
        before = len(blocks)
        blocks = _joined(blocks, following.blocks)
        labels = labels[: before - (len(blocks) < before + len(following.blocks))]
        labels += [label] * (len(blocks) - len(labels))
    if any(label is not None for label in labels):
        yield row(blocks, labels)


def _joined(blocks: list[str], more: list[str]) -> list[str]:
    """Blocks and the next ones; what was cut after "Mr." is one step again."""
    if blocks and more and blocks[-1].endswith(TITLES):
        return [*blocks[:-1], f"{blocks[-1]} {more[0]}", *more[1:]]
    return [*blocks, *more]


def label_of(rating: int | None, neutral: Neutral) -> bool | None:
    """What a rating says of a step: True is right, None is not trained on."""
    if rating is None:
        return None
    if rating == 0:
        return {"positive": True, "unlabelled": None, "negative": False}[neutral]
    return rating > 0
