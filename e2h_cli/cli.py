"""The ``e2h`` program: registers the subcommands, and turns errors into one line each."""

from __future__ import annotations

import sys

import click
import typer

from e2h_cli import __version__
from e2h_cli.commands.evaluate import evaluate
from e2h_cli.commands.pretrain import pretrain
from e2h_cli.commands.rerank import rerank
from e2h_cli.commands.run import run
from e2h_cli.commands.sample import sample
from e2h_cli.commands.sft import sft
from e2h_cli.commands.split import split
from e2h_cli.commands.train_rm import train_rm
from e2h_cli.errors import E2HError

app = typer.Typer(
    name="e2h",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a reward model on easy problems, and use it on hard ones. "
    "Each command is one stage of a recipe; `e2h run` does a whole recipe.",
)
for name, command in {
    "split": split,
    "pretrain": pretrain,
    "sft": sft,
    "train-rm": train_rm,
    "sample": sample,
    "rerank": rerank,
    "eval": evaluate,
    "run": run,
}.items():
    app.command(name)(command)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"e2h {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    sys.exit(run_app(sys.argv[1:]))


def run_app(arguments: list[str]) -> int:
    """Run a command line; print errors as one line; return the exit code."""
    try:
        code = app(arguments, prog_name="e2h", standalone_mode=False)
    except E2HError as error:
        return _complain(error.line, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        typer.echo(error.format_message())
        return 2
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        hint = f"; see {where.command_path} --help" if where is not None else ""
        return _complain(" ".join(error.format_message().split()).rstrip(".") + hint, 2)
    except (KeyboardInterrupt, click.Abort):
        return _complain("stopped; the same command goes on from here", 130)
    return code if isinstance(code, int) else 0


def _complain(line: str, code: int) -> int:
    typer.secho(f"error: {line}", err=True, fg="red")
    return code
