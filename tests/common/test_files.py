"""Files are written whole or not at all; fingerprints see all that matters."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.files import fingerprint, read_jsonl, write_atomic, write_jsonl


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomic(file, "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_half_characters_are_kept(tmp_path: Path) -> None:
    rows = [{"a": "\ud800 \u00e9"}, {"a": "\u00e9"}]
    write_jsonl(tmp_path / "f", rows)
    assert [row for _, row in read_jsonl(tmp_path / "f")] == rows
    assert "\u00e9" in (tmp_path / "f").read_text()


def test_fingerprints_see_names_and_bytes(tmp_path: Path) -> None:
    folders = []
    for name, content in itertools.product("xy", "12"):
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_text(content)
        folders.append(folder)
    assert len({fingerprint(f) for f in folders}) == 4


def test_devices_pipes_and_folders_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/null"), pipe, tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            write_atomic(path, "x")
    assert Path("/dev/null").is_char_device()
    assert pipe.is_fifo()


def test_a_link_is_replaced_and_its_file_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link"
    (tmp_path / "data/file").write_text("mine")
    link.symlink_to(tmp_path / "data/file")
    write_atomic(link, "x")
    assert link.read_text() == "x"
    assert (tmp_path / "data/file").read_text() == "mine"


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
