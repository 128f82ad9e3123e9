"""``e2h sync``: two machines without a shared disk share a run by a third place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.core import url_to_fs

from e2h_cli.pipeline.run_folder import StageFolder
from tests.conftest import MINI, Done, assert_one_line, copy_stages
from tests.conftest import e2h as e2h_in

SHARD = ["sample", "--recipe", str(MINI), "--part", "easy", "--n", "3", "--flush-seconds", "0.05"]


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Another place for runs; S3 is moto's server, where it and s3fs are installed."""
    if request.param == "folder":
        yield f"file://{tmp_path}/elsewhere/run"
    elif request.param == "memory":
        url = f"memory://{tmp_path.name}/run"
        yield url
        url_to_fs(url)[0].rm(f"/{tmp_path.name}", recursive=True)
    else:
        moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
        server = moto.ThreadedMotoServer(port=0)
        server.start()
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "key": "x", "secret": "x"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FSSPEC_S3_ENDPOINT_URL", options["endpoint_url"])
            patch.setenv("AWS_ACCESS_KEY_ID", "x")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
            from fsspec.config import conf

            patch.setitem(conf, "s3", options)
            s3fs.S3FileSystem.clear_instance_cache()
            storage = s3fs.S3FileSystem(**options)
            storage.mkdir("bucket")
            yield "s3://bucket/run"
            storage.rm("bucket", recursive=True)  # all servers of a process share their buckets
        server.stop()


def e2h(*arguments: object) -> Done:
    return e2h_in(*map(str, arguments), cwd=Path.cwd())


def ran(*arguments: object) -> str:
    done = e2h(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def synced(source: object, target: object, *options: str) -> str:
    return ran("sync", source, target, *options)


def test_two_machines_share_the_samples(mini_run: Path, tmp_path: Path, place: str) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split", "pretrain", "sft")
    two = tmp_path / "two"
    synced(one, place)
    synced(place, two)
    for folder in ("split", "pretrain", "sft"):
        assert StageFolder(two / folder).altered_outputs() == []
        names = {f.relative_to(one / folder) for f in (one / folder).rglob("*") if f.is_file()}
        assert all((two / folder / name).is_file() for name in names if ".lock" not in str(name))
    assert "0 files copied" in synced(place, two)

    ran(*SHARD, "--run-dir", one, "--shard", "1/2")
    ran(*SHARD, "--run-dir", two, "--shard", "2/2")
    synced(two, place)
    assert_one_line(e2h(*SHARD, "--run-dir", one, "--merge"), "(not done: --shard 2/2)")
    synced(place, one)
    ran(*SHARD, "--run-dir", one, "--merge")
    alone = copy_stages(mini_run, tmp_path / "alone", "split", "pretrain", "sft")
    ran(*SHARD, "--run-dir", alone)
    files = [folder / "sample/samples.parquet" for folder in (one, alone)]
    assert files[0].read_bytes() == files[1].read_bytes()
    synced(one, place)

    # What the second machine began is finished in the meantime, and stays so.
    synced(two, place)
    synced(place, two)
    assert StageFolder(two / "sample").status == "finished"
    assert StageFolder(two / "sample").altered_outputs() == []
    assert "is up to date" in e2h(*SHARD, "--run-dir", two).stdout


def test_an_interrupted_copy_goes_on(mini_run: Path, tmp_path: Path) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split", "sft")
    two = tmp_path / "two"
    synced(one, two)
    (two / "sft/stage.json").unlink()
    (two / "sft/model.safetensors").write_bytes(b"half of it")
    assert "files copied" in synced(one, two)
    assert StageFolder(two / "sft").status == "finished"
    assert StageFolder(two / "sft").altered_outputs() == []


def test_refusals(mini_run: Path, tmp_path: Path) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split")
    two = shutil.copytree(one, tmp_path / "two")
    empty = tmp_path / "empty"
    assert_one_line(e2h("sync", empty, two), "no run here")
    assert_one_line(e2h("sync", one, "nowhere://bucket/run"), "cannot open: Protocol not known")

    run = json.loads((two / "run.json").read_text())
    (two / "run.json").write_text(json.dumps({**run, "seed": 99}))
    assert_one_line(e2h("sync", one, two), "holds another run")
    (two / "run.json").write_text(json.dumps(run))

    ran("split", "--recipe", MINI, "--run-dir", two, "--max-level", "2", "--force")
    before = (two / "split/stage.json").read_bytes()
    assert_one_line(e2h("sync", one, two), "split was made there with another max_level")
    assert (two / "split/stage.json").read_bytes() == before
    synced(one, two, "--force")
    assert StageFolder(two / "split").record["settings"]["max_level"] == 3

    # A damaged file of a finished stage never becomes part of a run.
    three = tmp_path / "three"
    damaged = one / "split" / next(iter(StageFolder(one / "split").record["outputs"]))
    damaged.write_text("{}\n")
    done = e2h("sync", one, three)
    assert done.returncode == 1
    assert "is not the file that its record tells of" in done.stderr
    assert StageFolder(three / "split").status == "missing"


def test_force_leaves_no_sample_of_other_settings(
    mini_run: Path, tmp_path: Path, place: str
) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split", "pretrain", "sft")
    two = shutil.copytree(one, tmp_path / "two")
    # Both shards of it are there, and one of the other.
    for shard in ("1/2", "2/2"):
        ran(*SHARD, "--run-dir", two, "--temperature", "0.3", "--shard", shard)
    ran(*SHARD, "--run-dir", one, "--shard", "1/2")
    synced(two, place)
    assert_one_line(e2h("sync", one, place), "sample was made there with another temperature")
    synced(one, place, "--force")
    three = tmp_path / "three"
    synced(place, three)
    parts = [
        {file.relative_to(run): file.read_bytes() for file in (run / "sample").rglob("part-*")}
        for run in (one, three)
    ]
    assert parts[0] == parts[1]
    # On a disk, too.
    synced(one, two, "--force")
    assert {f.relative_to(two) for f in (two / "sample").rglob("part-*")} == {*parts[0]}


def test_nothing_outside_the_run_folder(mini_run: Path, tmp_path: Path) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split")
    outside, two = tmp_path / "outside", tmp_path / "two"
    outside.mkdir()
    two.mkdir()
    (two / "split").symlink_to(outside)
    (one / "note.txt").symlink_to(mini_run / "run.json")
    assert_one_line(e2h("sync", one, two), "remove the link")
    assert list(outside.iterdir()) == []
    assert not (two / "note.txt").exists()


def test_copies_while_a_stage_is_at_work(
    mini_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = copy_stages(mini_run, tmp_path / "one", "split")
    two, waits = tmp_path / "two", []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        (one / "note.txt").write_text(str(len(waits)))
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("e2h_cli.cli.sync.time.sleep", sleep)
    done = e2h("sync", one, two, "--every", "7")
    assert done.returncode == 130
    assert waits == [7.0, 7.0]
    assert (two / "note.txt").read_text() == "1"
