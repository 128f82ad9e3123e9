"""Hostile paths, values, files, disks and terminals: one line each, nothing outside changes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MINI, Cli, Done, assert_one_line, copy_stages, e2h

TEXT = MINI.read_text()
OTHER = ("--recipe", MINI, "--run-dir", "run", "--no-make-inputs")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("model: pretrain}}\n  rm", "model: sft}}\n  rm", ("circle: sft -> sft", "r.yaml:7")),
        ("rows: supervise}}", "rows: late}}\n  late: {run: supervise, inputs: {problems: split, "
         "samples: sample2}}\n  sample2: {run: sample, inputs: {problems: split, model: again}}\n"
         "  again: {run: sft, inputs: {problems: split, model: m, rows: late}}", ("circle: ",)),
        ("samples: greedy", "samples: ''", ("samples: empty",)),
        ("num_layers: 2", "num_layers: " + "9" * 4000, ("num_layers", "1000")),
        ("hidden_size: 32", "hidden_size: 30", ("hidden_size 30", "2 * num_heads")),
        ("n: 8,", "n: 9223372036854775808,", ("64 bits",)),
    ],
)  # fmt: skip
def test_recipes(cli: Cli, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    assert TEXT.count(old) == 1
    (tmp_path / "r.yaml").write_text(TEXT.replace(old, new))
    assert_one_line(cli("run", "r.yaml", "--run-dir", "run", "--until", "pretrain"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rerank", "--ks", ""), ("--ks: empty",)),
        (("rerank", "--ks="), ("--ks: empty",)),
        (("rerank", "--ks", ","), ("--ks", "at least 1 item")),
        (("rerank", "--aggregate", ","), ("--aggregate", "at least 1 item")),
        (("rerank", "--import", "qwen", ""), ("empty",)),
        (("split", "--run-dir", ""), ("--run-dir: empty",)),
        (("run", ""), ("empty",)),
        (("sample", "--engine-arg", "foo=[1"), ("--engine-arg", "'foo=[1' is not a value in YAML")),
        (("split", "--recipe", "x" * 300), ("no such recipe",)),
        (("split", "--run-dir", "x" * 300), ("File name too long",)),
        (("sample", "--problems", "x" * 5000), ("no file or folder",)),
        (("sample", "--problems", "a\0b"), ("a\\x00b",)),
        (("sample", "--problems", "\x1b[31mx"), ("\\x1b[31mx",)),
        (("sample", "--problems", "/dev/null"), ("neither a file nor a folder",)),
        (("sft", "--model", "sft"), ("sft cannot read itself",)),
        (("grade", "--in", "p", "--out", "x" * 300), ("File name too long",)),
        (("grade", "--in", "p", "--out", "."), ("not a regular file",)),
        *[(("grade", "--in", "p", "--out", "v", "--timeout", value), ("--timeout", "seconds"))
          for value in ("inf", "nan", "0", "1e300")],
    ],
)  # fmt: skip
def test_command_lines(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "p").write_text('{"gold": "1", "pred": "1"}\n')
    done = cli(*arguments)
    assert_one_line(done, *words)
    assert "--imported" not in done.stderr
    assert len(done.stderr) < 1700


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")


def four_heads_of_thirty(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))


@pytest.mark.parametrize(
    "damage",
    [truncated, pickled, four_heads_of_thirty,
     lambda folder: (folder / "config.json").write_text("[]"),
     lambda folder: (folder / "tokenizer_config.json").write_text("null"),
     lambda folder: (folder / "tokenizer.json").write_text("[]")],
)  # fmt: skip
def test_models(mini_run: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    copy_stages(mini_run, tmp_path / "run", "split")
    shutil.copytree(mini_run / "sft", tmp_path / "m")
    damage(tmp_path / "m")
    done = e2h("sample", *OTHER, "--model", "m", cwd=tmp_path)
    assert_one_line(done, "/m: cannot load the")


def test_gzip_and_byte_order_marks(cli: Cli, tmp_path: Path) -> None:
    rows = '{"gold": "1", "pred": "1"}\n{"gold": "1", "pred": "2"}\n'.encode("utf-8-sig")
    (tmp_path / "bom.jsonl").write_bytes(rows)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows))
    for name in ("bom.jsonl", "rows.jsonl.gz"):
        done = cli("grade", "--in", name, "--out", "v.jsonl", "--grader", "exact")
        assert done.returncode == 0, done.stderr
        verdicts = [json.loads(line)["verdict"] for line in (tmp_path / "v.jsonl").open()]
        assert verdicts == ["right", "wrong"]
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(rows)[:-9])
    done = cli("grade", "--in", "torn.jsonl.gz", "--out", "v.jsonl")
    assert_one_line(done, "torn.jsonl.gz", "cannot read")
    array = json.dumps([{"idx": 0, "question": "q", "answer": "1", "pred": ["1"]}])
    (tmp_path / "array.json.gz").write_bytes(gzip.compress(array.encode("utf-8-sig")))
    assert "not valid JSON" not in cli("rerank", "--import", "qwen", "array.json.gz").stderr


def test_escapes_never_reach_the_terminal(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {
            "problem": f"What is {i}?",
            "level": 1,
            "answer": "1",
            "solution": "s",
            "subject": "\x1b]0;owned\x07\u202e",
        }
        for i in range(4)
    ]
    (tmp_path / "data").mkdir()
    for name in ("train", "test"):
        lines = (json.dumps({**row, "problem": name + row["problem"]}) + "\n" for row in rows)
        (tmp_path / f"data/{name}.jsonl").write_text("".join(lines))
    command = ("split", "--source", "math", "--data", "data", "--validation-size", "1")
    done = cli(*command, "--run-dir", "r\x1b[31m")
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x07", "\u202e"}
    assert "\\x1b]0;" in done.stdout


def test_a_smaller_validation_set_is_said(cli: Cli) -> None:
    done = cli("split", "--recipe", MINI, "--validation-size", "70", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    assert "problems, not 70: there are no more" in done.stdout


def test_numbers_out_of_range_in_imported_files(cli: Cli, tmp_path: Path) -> None:
    for number in ("1e400", str(2**70), "NaN", "1" * 5000):
        row = f'{{"idx": {number}, "question": "q", "answer": "1", "pred": ["1"], "code": ["x"]}}\n'
        for name in ("qwen", "official"):
            (tmp_path / "f.jsonl").write_text(row)
            done = cli("rerank", "--import", name, "f.jsonl", "--force")
            assert "unexpected" not in done.stderr, (name, number)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Another user than the owner of the files."""
    if os.geteuid():
        pytest.skip("needs root, who may become another user")
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_folders_of_another_user(tmp_path_factory: pytest.TempPathFactory, nobody: None) -> None:
    place = Path("/tmp")
    os.seteuid(0)
    folder = tmp_path_factory.mktemp("theirs")
    folder.chmod(0o700)
    os.seteuid(65534)
    for arguments, words in [
        (("split", "--run-dir", folder / "run"), "Permission denied"),
        (("sample", "--recipe", MINI, "--run-dir", folder), "Permission denied"),
        (("split", "--source", "math", "--data", folder), "no file or folder"),
        (("grade", "--in", folder / "x", "--out", "/tmp/nobody.jsonl"), "Permission denied"),
    ]:
        assert_one_line(e2h(*arguments, cwd=place), words)


def test_a_read_only_run_can_be_read(
    mini_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only disk: root, whom modes do not bind, may not write there either."""
    run = tmp_path / "run"
    shutil.copytree(mini_run, run)
    opened, access = os.open, os.access

    def refuse(path: object, flags: int, *rest: object, **named: object) -> int:
        if str(path).startswith(str(run)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("os.open", refuse)
    monkeypatch.setattr("os.access", lambda p, mode: access(p, mode) and mode != os.W_OK)
    for command in (("run", MINI), ("rerank", "--recipe", MINI, "--show-tokens")):
        done = e2h(*command, "--run-dir", run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "rerank is up to date" in done.stdout
    done = e2h("sample", "--recipe", MINI, "--run-dir", run, "--n", "16", cwd=tmp_path)
    assert_one_line(done, "not writable")


def test_an_engine_file_is_neither_followed_nor_trusted(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "sft", "sample")
    precious, file = tmp_path / "precious", run / "sample/engines.jsonl"
    precious.write_text("mine")
    file.unlink()
    file.symlink_to(precious)
    common = ("sample", *OTHER, "--n")
    done = e2h(*common, "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert precious.read_text() == "mine"
    assert "engines.jsonl: cannot write the speed" in done.stdout
    file.unlink()
    os.mkfifo(file)
    assert e2h(*common, "10", cwd=tmp_path).returncode == 0
    file.unlink()
    file.write_text('null\n{"engine": 3}\nx\n\n{"samples": -1}\n')
    done = e2h(*common, "11", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for number in (1, 2, 3, 5):
        assert f"engines.jsonl:{number}: not the speed of an engine" in done.stdout
    assert json.loads((run / "sample/stage.json").read_text())["counts"]["engines"]


def test_an_edited_record_is_refused(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split")
    record = run / "split/stage.json"
    record.write_text(record.read_text().replace('"easy": ', '"easy": 1'))
    done = e2h("split", *OTHER, cwd=tmp_path)
    assert_one_line(done, "split/stage.json: was changed since e2h wrote it")


def test_files_without_a_record_are_neither_taken_nor_deleted(
    mini_run: Path, tmp_path: Path
) -> None:
    """Samples of unknown settings must not count as drawn."""
    run = copy_stages(mini_run, tmp_path / "run", "split", "sft", "sample")
    (run / "sample/stage.json").unlink()
    done = e2h("sample", *OTHER, cwd=tmp_path)
    assert_one_line(done, "no record of how sample was made", "--force")
    assert (run / "sample/samples.parquet").is_file()
    assert e2h("sample", *OTHER, "--force", cwd=tmp_path).returncode == 0


def test_a_change_that_hides_its_time_is_seen(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")
    assert e2h("sft", *OTHER, "--force", cwd=tmp_path).returncode == 0
    file = run / "sft/model.safetensors"
    found, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert_one_line(e2h("sample", *OTHER, cwd=tmp_path), "model.safetensors has changed")


def process(*arguments: str | Path, cwd: Path, script: str = "") -> Done:
    """e2h in a shell: its arguments are ``$@``."""
    words = [sys.executable, "-m", "e2h_cli", *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", script, "e2h", *words],
        cwd=cwd, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ('"$@" >&-', 0, ""),
        ('"$@" >&- 2>&-', 0, ""),
        ('"$@" > /dev/full', 1, "error: cannot write: No space left on device"),
        ('"$@" | true; exit ${PIPESTATUS[0]}', 1, ""),
    ],
)
def test_outputs_that_are_closed_or_full(
    mini_run: Path, tmp_path: Path, script: str, code: int, words: str
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split")
    before = (run / "split/test.jsonl").read_bytes()
    done = process("split", "--recipe", MINI, "--run-dir", run, cwd=tmp_path, script=script)
    assert done.returncode in (0, code), done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == bool(words), done.stderr
    assert (run / "split/test.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_second_interrupt_shows_no_traceback(tmp_path: Path, pause: float) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "e2h_cli", "sample", "--recipe", str(MINI), "--n", "5000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("sample/**/part-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    time.sleep(pause)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert "Traceback" not in errors
    assert running.returncode in (130, -signal.SIGINT)  # the latter once Python is ending


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "size", "options"),
    [
        ("pretrain", 60, []),
        ("pretrain", 300, ["--checkpoint-seconds", "0.01"]),
        ("rerank", 20, []),
        ("eval", 100, []),
    ],
)
def test_a_full_disk(
    mini_run: Path, tmp_path: Path, stage: str, size: int, options: list[str]
) -> None:
    """One line, and the same command goes on when there is room. Sizes in KiB."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    stages = ("split", "pretrain", "sft", "rm-samples", "supervise", "train-rm", "sample", "greedy",
              "rerank", "eval")  # fmt: skip
    run = copy_stages(mini_run, tmp_path / "run", *stages[: stages.index(stage)])
    (run / stage).mkdir()
    script = f"""
        mount -t tmpfs -o size={size}k tmpfs {run / stage}
        "$@" 2> first; echo $? > code
        mount -o remount,size=100m {run / stage}
        "$@"
    """
    words = ["bash", "-c", script, "e2h", sys.executable, "-m", "e2h_cli"]
    common = ["--recipe", str(MINI), "--run-dir", str(run), "--no-make-inputs"]
    again = subprocess.run(
        ["unshare", "-rm", *words, stage, *common, *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert (tmp_path / "code").read_text().strip() == "1"
    first = (tmp_path / "first").read_text()
    assert first.startswith("error: "), first
    assert len(first.splitlines()) == 1, first
    assert "unexpected" not in first
    assert "free space" in first
