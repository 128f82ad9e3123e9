"""Locks of folders: one at a time, several that share, and clearing while others start."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.folder_lock import locked


def test_shared_locks_exclude_only_those_that_share_not(tmp_path: Path) -> None:
    with locked(tmp_path, ".lock", shared=True), locked(tmp_path, ".lock", shared=True):
        with (
            pytest.raises(InputError, match="another e2h process is working here"),
            locked(tmp_path, ".lock", shared=False),
        ):
            pass
        with locked(tmp_path, ".lock-other", shared=False):
            pass
    with locked(tmp_path, ".lock", shared=False):
        pass


def test_a_disk_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: object, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with (
        pytest.raises(InputError, match="No locks available; take a disk with file locks"),
        locked(tmp_path, ".lock", shared=True),
    ):
        pass


def test_one_of_two_that_start_together_clears_and_deletes_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one looks for old files when the quick one has written its first."""
    (tmp_path / "old.parquet").touch()
    slow_search, slow_write = Path.rglob, parquet_store.write_json

    def search(self: Path, pattern: str) -> list[Path]:
        if threading.current_thread().name == "slow":
            time.sleep(0.6)
        return [*slow_search(self, pattern)]

    def write(path: Path, value: object) -> None:
        time.sleep(0.2)
        slow_write(path, value)

    monkeypatch.setattr(Path, "rglob", search)
    monkeypatch.setattr(parquet_store, "write_json", write)

    def work() -> None:
        parquet_store.clear_if_changed(tmp_path, {"a": 1})
        (tmp_path / f"{threading.current_thread().name}.parquet").touch()

    threads = [threading.Thread(target=work, name=name) for name in ("quick", "slow")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.name for p in tmp_path.glob("*.parquet")) == ["quick.parquet", "slow.parquet"]
