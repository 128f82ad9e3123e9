"""The ``e2h`` program: registers the subcommands and prints errors as one line each."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback

import typer

from e2h_cli import __version__
from e2h_cli.cli.grade import grade
from e2h_cli.cli.options import stage_command
from e2h_cli.cli.run import run
from e2h_cli.common.console import show_on_terminal
from e2h_cli.common.errors import E2HError
from e2h_cli.pipeline.registry import COMMANDS

app = typer.Typer(
    name="e2h",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a reward model on easy problems, and use it on hard ones. "
    "Each command is one stage of a recipe; `e2h run` does a whole recipe.",
)
for command in COMMANDS:
    app.command(command)(stage_command(command))
app.command("run")(run)
app.command("grade")(grade)


_INTERRUPTED = 130


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"e2h {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    # Waiting OpenMP threads spin. On a busy machine they take the core from the thread that they
    # wait for, and training becomes ten times slower. Must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Hides warnings of torch's C++ code to its developers; must be set before the import, too.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # SIGTERM, which Slurm sends before it kills, stops the work as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run_app(sys.argv[1:]))


def run_app(arguments: list[str]) -> int:
    """Run a command line; print errors as one line; return the exit code."""
    show_on_terminal()
    try:
        code = app(arguments, prog_name="e2h", standalone_mode=False)
    except E2HError as error:
        return _complain(error.line, error.exit_code)
    except typer.TyperException as error:
        return _complain(_usage(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        return _complain(_unexpected(error), 1)
    if code == _INTERRUPTED:
        return _complain("stopped; the same command goes on from here", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> str:
    """A mistake on the command line in one line, with the help page that explains it."""
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context is not None else ""
    return " ".join(message.split()).rstrip(".") + hint


def _unexpected(error: Exception) -> str:
    """One line for an error that nobody foresaw, and where its traceback is."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="e2h-", suffix=".traceback", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    reason = " ".join(str(error).split())[:300]
    return (
        f"unexpected {type(error).__name__}: {reason}; this is a bug of e2h, please report it with "
        f"{file.name}"
    )


def _complain(line: str, code: int) -> int:
    typer.secho(f"error: {line}", err=True, fg="red")
    return code
