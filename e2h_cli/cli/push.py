"""``e2h push``: a finished stage on the Hugging Face Hub, with a card that says how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.options import RecipeOption, RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import open_run

if TYPE_CHECKING:
    from e2h_cli.pipeline.stage_card import StageCard


def push(
    stage: Annotated[str, typer.Argument(help="Name of a finished stage.")],
    name: Annotated[
        str, typer.Argument(help="Repository on the Hub, as OWNER/NAME; NAME is one of your own.")
    ],
    recipe: RecipeOption = None,
    scale: ScaleOption = None,
    run_dir: RunDirOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, created if there is none; main if not given.")
    ] = None,
    license_id: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence as the Hub names it; that of the base model if not given and known.",
        ),
    ] = None,
    with_hidden_answers: Annotated[
        bool,
        typer.Option("--with-hidden-answers", help="Share answers of hard training problems, too."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write the card, list the files, and upload nothing."),
    ] = False,
) -> None:
    """Upload a finished stage to the Hugging Face Hub: a model, rows, samples or results."""
    from e2h_cli.common.errors import InputError
    from e2h_cli.pipeline.hub_upload import check_name, license_of
    from e2h_cli.pipeline.lineage import lineage_of
    from e2h_cli.pipeline.registry import DEFAULT_RECIPE
    from e2h_cli.pipeline.stage_card import StageCard
    from e2h_cli.pipeline.stage_files import shared_files

    check_name(name)
    _, run_folder = open_run(recipe or DEFAULT_RECIPE, scale, run_dir, seed)
    folder = run_folder.stage(stage)
    if folder.status == "missing":
        raise InputError(f"no stage {stage!r} here", where=run_folder.path, hint="see e2h run")
    files = shared_files(folder, with_hidden_answers=with_hidden_answers)
    known = {license_of(base, ask_hub=not dry_run) for base in lineage_of(folder.path).bases}
    found = known.pop() if len(known) == 1 else ""
    card = StageCard(folder, name, tuple(files), license_id or found)
    _send(card, files, private=private, revision=revision, dry_run=dry_run)


def _send(
    card: StageCard,
    files: Mapping[str, Path],
    *,
    private: bool,
    revision: str | None,
    dry_run: bool,
) -> None:
    """List the files with the card, and upload them or write the card alone."""
    from e2h_cli import __version__
    from e2h_cli.common.console import console
    from e2h_cli.common.files import write_atomic
    from e2h_cli.pipeline.hub_upload import CARD, upload
    from e2h_cli.pipeline.stage_files import repo_type

    stage, name, text = card.stage, card.repo, card.text
    kind = repo_type(stage.record["command"])
    sizes = {CARD: len(text.encode()), **{one: file.stat().st_size for one, file in files.items()}}
    for one, size in sizes.items():
        console.print(f"{size:>15,}  {escape(one)}")
    console.print(f"{sum(sizes.values()):>15,}  bytes in {len(sizes)} files, {kind} {escape(name)}")
    if dry_run:
        target = stage.path.parent / "report" / f"{stage.path.name}-card.md"
        write_atomic(target, text)
        console.print(f"Card: {escape(str(target))}; nothing was uploaded")
        return
    message = f"Stage {stage.path.name} at {card.scale} scale, by e2h {__version__}"
    url = upload(name, kind, files, text, message, private=private, revision=revision)
    console.print(f"{stage.path.name} -> {escape(url)}")
