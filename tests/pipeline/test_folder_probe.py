"""What a folder for runs can do, tried in it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2h_cli.common.errors import RunError
from e2h_cli.pipeline import folder_probe
from e2h_cli.pipeline.folder_probe import folder_facts


def test_a_folder_that_works_and_is_left_as_it_was(tmp_path: Path) -> None:
    facts = folder_facts(tmp_path / "runs" / "not-there-yet")
    assert facts.path == tmp_path
    assert (facts.not_writable, facts.no_rename, facts.no_lock) == ("", "", "")
    assert 0 < facts.free <= facts.total
    assert facts.seconds > 0
    assert facts.file_system.isidentifier()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(folder_probe.tempfile, "mkdtemp", refuse)
    assert folder_facts(tmp_path).not_writable == "Read-only file system"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert folder_facts(tmp_path / "runs").not_writable == "No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert folder_facts(tmp_path / "runs").not_writable == f"{tmp_path}/runs is no folder"
    assert folder_facts(tmp_path / "runs/one").not_writable == f"{tmp_path}/runs is no folder"


def test_locks_that_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def no_lock(folder: Path, name: str, *, shared: bool) -> Iterator[None]:
        (folder / name).touch()
        yield

    monkeypatch.setattr(folder_probe, "locked", no_lock)
    assert folder_facts(tmp_path).no_lock == "a second process got the same lock"


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("e2h_cli.common.folder_lock.fcntl.flock", no_locks)
    assert folder_facts(tmp_path).no_lock == "No locks available"


def test_a_disk_that_does_not_replace_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: str) -> None:
        raise RunError("cannot write: Invalid argument", where=path)

    monkeypatch.setattr(folder_probe, "write_atomic", refuse)
    assert folder_facts(tmp_path).no_rename == "cannot write: Invalid argument"
