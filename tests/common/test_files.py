"""Writing files: complete or not at all, and never over anything but a regular file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2h_cli.common import files
from e2h_cli.common.errors import InputError


def test_devices_pipes_and_folders_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/null"), pipe, tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            files.write_atomic(path, "x")
    assert Path("/dev/null").is_char_device()
    assert pipe.is_fifo()


def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data/file")
    files.write_atomic(link, "x")
    assert link.is_symlink()
    assert (tmp_path / "data/file").read_text() == "x"


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    files.write_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic_file(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
