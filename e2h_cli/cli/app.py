"""The ``e2h`` program: registers the subcommands and prints errors as one line each."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from itertools import pairwise

import typer

from e2h_cli import __version__
from e2h_cli.cli.clean import clean
from e2h_cli.cli.diff import diff
from e2h_cli.cli.doctor import doctor
from e2h_cli.cli.grade import grade
from e2h_cli.cli.ls import ls
from e2h_cli.cli.options import stage_command
from e2h_cli.cli.page import page
from e2h_cli.cli.plan import plan
from e2h_cli.cli.push import push
from e2h_cli.cli.recipes import recipes, validate
from e2h_cli.cli.report import report
from e2h_cli.cli.run import run
from e2h_cli.cli.sync import sync
from e2h_cli.common.console import console, show_on_terminal
from e2h_cli.common.errors import E2HError, InputError, RunError
from e2h_cli.common.escapes import one_line
from e2h_cli.common.json_log import RESULT
from e2h_cli.pipeline.registry import COMMANDS

app = typer.Typer(
    name="e2h",
    pretty_exceptions_enable=False,
    help="Train a reward model on easy problems, and use it on hard ones. "
    "Each command is one stage of a recipe; `e2h run` does a whole recipe.",
)
for command in COMMANDS:
    app.command(command)(stage_command(command))
app.command("run")(run)
app.command("report")(report)
app.command("page")(page)
app.command("plan")(plan)
app.command("validate")(validate)
app.command("push")(push)
app.command("sync")(sync)
app.add_typer(recipes, name="recipes")
app.command("grade")(grade)
app.command("doctor")(doctor)
app.command("ls")(ls)
app.command("clean")(clean)
app.command("diff")(diff)


logger = logging.getLogger(__name__)

# Options that ``_show`` takes.
_OF_OUTPUT = ("--quiet", "--log-json")
_INTERRUPTED = 130
# Failures of the disk, not of what the user has named.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_DISK_WORDS = "No space left"
# What torch says of a disk on which a checkpoint does not fit.
_TORCH_WORDS = ("PytorchStreamWriter", "inline_container")
_MEMORY_WORDS = ("allocate memory", "out of memory")


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
    quiet: bool = typer.Option(
        False, "--quiet", help="Show warnings and errors alone; may stand anywhere."
    ),
    log_json: bool = typer.Option(
        False,
        "--log-json",
        help="Show messages and results as JSON lines on stderr; may stand anywhere.",
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
    # A file that is opened later must not become the standard output of a program without one.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        code = run_app(sys.argv[1:])
    except KeyboardInterrupt:  # the second, which interrupted the last words of the first
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(_INTERRUPTED))
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter would try once more at its end, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def run_app(arguments: list[str]) -> int:
    """Run a command line; print errors as one line; return the exit code."""
    started = time.monotonic()
    arguments = _show(arguments)
    code = _run(arguments)
    if console.in_log and arguments:
        seconds = round(time.monotonic() - started, 1)
        words = "done" if code == 0 else "not done"
        result = {"command": arguments[0], "exit_code": code, "seconds": seconds}
        logger.log(logging.INFO if code == 0 else logging.ERROR, words, extra={RESULT: result})
    return code


def _show(arguments: list[str]) -> list[str]:
    """Set how messages are shown; returns the arguments without the options that say so.

    They may stand anywhere, and hold for mistakes on the command line itself.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = set(arguments[:end])
    show_on_terminal(quiet="--quiet" in given, log_json="--log-json" in given)
    return [one for i, one in enumerate(arguments) if i >= end or one not in _OF_OUTPUT]


def _run(arguments: list[str]) -> int:
    try:
        _refuse_empty(arguments)
        code = app(arguments, prog_name="e2h", standalone_mode=False)
        sys.stdout.flush()
    except E2HError as error:
        return _complain(error.line, error.exit_code)
    except typer.TyperException as error:
        return _complain(_usage(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        return 1  # whoever read the output has gone; there is nobody left to tell
    except Exception as error:
        known = _known(error)
        return _complain(known.line, known.exit_code) if known else _complain(_unexpected(error), 1)
    if code == _INTERRUPTED:
        return _complain("stopped; the same command goes on from here", _INTERRUPTED)
    return code if isinstance(code, int) else 0


# No system message is another thing than the default one.
_MAY_BE_EMPTY = "--system"


def _refuse_empty(arguments: list[str]) -> None:
    """Raise InputError for an empty argument: a shell variable that is not set."""
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            option = option or before
            if option == _MAY_BE_EMPTY:
                continue
            shown = option if option.startswith("-") else "an argument"
            raise InputError(f"{shown}: empty", hint="leave the option out")


def _known(error: Exception) -> E2HError | None:
    """What a library raised, as a line: about a path, a full disk or too little memory."""
    text, number = str(error), getattr(error, "errno", None)
    name = getattr(error, "filename", None)
    if any(word in text for word in _TORCH_WORDS):
        number = errno.ENOSPC
    if number in _DISK_ERRORS or _DISK_WORDS in text:
        reason = os.strerror(number or errno.ENOSPC)
        return RunError(
            f"cannot write: {reason}", where=name or "", hint="free space, or choose another folder"
        )
    if isinstance(error, OSError) and name is not None:
        return InputError(error.strerror or text, where=name, hint="name another path")
    if isinstance(error, MemoryError) or any(word in text for word in _MEMORY_WORDS):
        return RunError(
            f"not enough memory ({text or 'MemoryError'})", hint="take a smaller batch or model"
        )
    return None


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
    if console.in_log:
        logger.error("%s", one_line(line))
        return code
    typer.secho(f"error: {one_line(line)}", err=True, fg="red")
    return code
