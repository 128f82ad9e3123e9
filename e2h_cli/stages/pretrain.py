"""The work of ``e2h pretrain``: a tiny base model that knows chain arithmetic, or programs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from e2h_cli.common.errors import InputError
from e2h_cli.data import chain_arithmetic, template, tiny_programs
from e2h_cli.data.problem import read_problems
from e2h_cli.data.split_files import split_file
from e2h_cli.models import loading, tiny
from e2h_cli.pipeline.lineage import SEEN
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.pretrain import PretrainSettings
from e2h_cli.training.token_rows import Row, packed_row, sft_row
from e2h_cli.training.trainer import train_model


def run(context: StageContext[PretrainSettings]) -> dict[str, Any]:
    """Train a Llama from random weights on a corpus of solutions of made-up problems.

    Reads the split, so that the corpus has no validation or test question. Questions carry no
    loss: their digits are random, and there is nothing to learn in them.
    """
    settings = context.settings
    if settings.hidden_size % (2 * settings.num_heads):
        raise InputError(
            f"hidden_size {settings.hidden_size} is not a multiple of 2 * num_heads "
            f"({2 * settings.num_heads})",
            hint="choose other sizes",
        )
    split = context.input_path("problems")
    parts = [split_file(split, part) for part in ("validation", "test")]
    asked = [p for file in parts if file.stat().st_size for p in read_problems(file)]
    held_out = {problem.problem for problem in asked}
    rng = random.Random(f"corpus {settings.seed}")
    if asked and all(problem.source == "programs" for problem in asked):
        tokenizer, levels = tiny.program_tokenizer(), list(tiny_programs.LENGTHS_BY_LEVEL)
        documents = tiny_programs.corpus(settings.documents, held_out, rng)
    else:
        _refuse_other_worlds(held_out, split)
        tokenizer, levels = tiny.tokenizer(), list(chain_arithmetic.OPERATIONS_BY_LEVEL)
        documents = corpus(settings.documents, held_out, rng)
    rows = [sft_row(tokenizer, *document, finished=True) for document in documents]
    if settings.documents_per_row > 1:
        separator = tokenizer(template.SEPARATOR).input_ids
        packs = in_packs(rows, settings.documents_per_row, rng)
        rows = [packed_row(pack, separator) for pack in packs]
    torch.manual_seed(settings.seed)
    model = tiny.model(
        tokenizer,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        positions=max(512, 128 * settings.documents_per_row),
    ).to(loading.device())
    folders = context.output_dir, context.scratch_dir, context.stage
    with context.tracker() as tracker:
        counts = train_model(model, tokenizer, rows, settings, *folders, tracker=tracker)
        tracker.finish(counts)
    return {**counts, "parameters": model.num_parameters(), SEEN: {"documents": levels}}


def _refuse_other_worlds(questions: Iterable[str], split: Path) -> None:
    """Raise InputError for questions that are no chains."""
    try:
        for question in questions:
            chain_arithmetic.parse(question)
    except ValueError as error:
        raise InputError(
            "the tiny base model knows made-up problems only",
            where=split,
            hint="give a language model with --model to the later stages",
        ) from error


def in_packs(rows: Sequence[Row], largest: int, rng: random.Random) -> Iterator[Sequence[Row]]:
    """Cut rows into packs of 1 to ``largest``, at random.

    Packs of one keep the accuracy without few-shot examples.
    """
    start = 0
    while start < len(rows):
        end = start + rng.randint(1, largest)
        yield rows[start:end]
        start = end


def corpus(count: int, held_out: set[str], rng: random.Random) -> list[tuple[str, str]]:
    """(prompt, completion) of random problems of all levels, without held-out questions.

    The solutions make mistakes as people do, so that the base model makes some, too.
    """
    documents: list[tuple[str, str]] = []
    levels = list(chain_arithmetic.OPERATIONS_BY_LEVEL)
    while len(documents) < count:
        chain = chain_arithmetic.draw(rng.choice(levels), rng)
        if chain.question not in held_out:
            solution = template.completion(*chain_arithmetic.solve_like_a_human(chain, rng))
            documents.append((template.prompt(chain.question), solution))
    return documents
