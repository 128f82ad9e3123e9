"""``e2h doctor``: is this machine right, before hours are spent."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2h_cli.cli.options import JsonOption
from e2h_cli.cli.run_selection import RUNS

if TYPE_CHECKING:
    from e2h_cli.common.machine_checks import Finding, Packages

logger = logging.getLogger(__name__)


def doctor(
    run_dir: Annotated[
        Path, typer.Option("--run-dir", help="Where runs are to go: its disk is looked at.")
    ] = RUNS,
    full: Annotated[
        bool,
        typer.Option("--full", help="Also sample a token with each engine, which takes a minute."),
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Time limit of an engine with --full.")
    ] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Check Python, packages, GPU, disk, Hub and sandbox; exit code 1 if something is wrong."""
    from e2h_cli.common.console import leave_output_to_json, print_json

    if as_json:
        leave_output_to_json()
    findings = []
    for one in look(run_dir, full=full, seconds=seconds):
        findings.append(one)
        if not as_json:
            _show(one)
    errors = sum(one.status == "error" for one in findings)
    if as_json:
        print_json({"ok": not errors, "findings": [dataclasses.asdict(one) for one in findings]})
    raise typer.Exit(1 if errors else 0)


def look(run_dir: Path, *, full: bool, seconds: float) -> Iterator[Finding]:
    """Look at this machine, one thing after the other."""
    from e2h_cli.common import machine_checks as checks
    from e2h_cli.common import machine_probes as probes
    from e2h_cli.pipeline.folder_probe import folder_facts

    packages, gpu = probes.installed_packages(), probes.gpu_facts()
    yield checks.check_python(platform.python_version(), probes.python_needed())
    yield from checks.check_packages(packages)
    yield checks.check_cores(*probes.usable_cores())
    yield checks.check_memory(*probes.memory())
    yield from checks.check_gpu(gpu, packages.pip)
    yield checks.check_vllm(packages, gpu=bool(gpu.gpus))
    folder = folder_facts(run_dir)
    yield checks.check_disk(folder)
    yield checks.check_folder(folder)
    yield from checks.check_hub(probes.hub_facts(os.environ))
    yield _sandbox()
    if full:
        yield from _engines(packages, seconds)


def _sandbox() -> Finding:
    """What grading of programs would use, opened as grading does it."""
    from e2h_cli.common.errors import RunError
    from e2h_cli.common.machine_checks import check_sandbox
    from e2h_cli.grading.programs.program_run import Limits
    from e2h_cli.grading.programs.sandboxes import open_sandbox

    used, why_not, hint = "", "", ""
    with tempfile.TemporaryDirectory(prefix="e2h-doctor-") as folder:
        for name in ("auto", "bubblewrap"):
            try:
                opened = open_sandbox(name, Limits(), folder, grace=0)
            except RunError as error:
                why_not, hint = error.problem, error.hint
            else:
                opened.host.kill()
                used = opened.name
            # It is asked for by name only to learn why "auto" has passed it over.
            if not used or used.startswith("bubblewrap"):
                break
    return check_sandbox(used, why_not, hint)


def _engines(packages: Packages, seconds: float) -> Iterator[Finding]:
    from e2h_cli.common.console import console
    from e2h_cli.common.machine_checks import check_engine
    from e2h_cli.inference.engine_trial import try_engine

    for engine in ("transformers", "vllm"):
        if find_spec("vllm" if engine == "vllm" else "torch") is not None:
            console.print(f"[dim]trying {engine}, {seconds:,.0f} s at most[/dim]")
            yield check_engine(try_engine(engine, seconds), packages)


def _show(one: Finding) -> None:
    """Print a line, and below it what mends it; warnings and errors also if quiet."""
    from rich.markup import escape

    from e2h_cli.common.console import console

    if one.status == "ok":
        console.print(f"[green]ok[/green]       {escape(one.name)}: {escape(one.found)}")
        return
    mend = f"\n         mend: {one.mend}" if one.mend else ""
    level = logging.ERROR if one.status == "error" else logging.WARNING
    logger.log(level, "%-8s %s: %s%s", one.status, one.name, one.found, mend)
