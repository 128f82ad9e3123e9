"""``e2h push`` against a stand-in of the Hub: the bytes, the card, what is never sent, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml

from e2h_cli.common.files import read_jsonl, write_json
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_record import write_record
from tests.conftest import Cli, assert_one_line, copy_stages
from tests.hub_stand_in import TOKEN, HubStandIn, hub_stand_in

MODEL = {
    "README.md", "config.json", "generation_config.json", "log.jsonl", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    with hub_stand_in() as stand_in:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stand_in.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        # Its protocol needs a server of its own; without it files go by that of LFS.
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield stand_in


def parts_of(card: bytes | str) -> tuple[dict, str]:
    """Metadata and text of a card."""
    text = card.decode() if isinstance(card, bytes) else card
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def edit_record(folder: StageFolder, **changes: object) -> None:
    write_record(folder.path / "stage.json", {**folder.record, **changes})


def test_a_model_with_its_card(cli: Cli, hub: HubStandIn, mini_run: Path) -> None:
    done = cli("push", "sft", "me/mini-sft", "--run-dir", mini_run, "--private")
    assert done.returncode == 0, done.stderr
    assert hub.created["me/mini-sft"]["visibility"] == "private"
    assert hub.created["me/mini-sft"]["type"] == "model"
    sent = hub.files["me/mini-sft", "main"]
    assert set(sent) == MODEL
    for name in MODEL - {"README.md"}:
        assert sent[name] == (mini_run / "sft" / name).read_bytes()
    assert f"{hub.endpoint}/me/mini-sft" in done.stdout
    head, body = parts_of(sent["README.md"])
    assert head["library_name"] == "transformers"
    assert "tiny-scale" in head["tags"]
    assert "license" not in head and "base_model" not in head
    [model] = head["model-index"]
    values = {m["name"]: m["value"] for result in model["results"] for m in result["metrics"]}
    results = json.loads((mini_run / "rerank/results.json").read_text())["metrics"]
    for m in results:
        if (m["group"], m["method"], m["n"]) == ("hard", "majority", 8):
            assert values["majority, hard problems, N = 8 (rerank)"] == m["accuracy"]
            shown = f"| rerank | hard | majority | 8 | {m['accuracy']:.1f} | {m['low']:.1f} to"
            assert shown in body
    assert "| greedy | all | greedy | 1 |" in body
    title, first = [line for line in body.splitlines() if line][:2]
    assert title == "# mini-sft (tiny scale)"
    assert first.startswith("Of **tiny scale**, and no model or data of the paper.")
    assert "seed 0" in body
    assert "labels of steps and outcomes, and reference solutions | levels 1-3 |" in body
    assert "learning_rate = 0.001, batch_size = 16" in body
    assert "e2h run mini.yaml --scale tiny --seed 0 --until sft" in body
    assert "transformers " in body
    # Nothing of this machine.
    host = StageFolder(mini_run / "sft").record["host"]["name"]
    assert str(mini_run.parent) not in body and f" {host}" not in body


def test_a_reward_model_is_measured_by_the_votes_with_it(
    cli: Cli, hub: HubStandIn, mini_run: Path
) -> None:
    done = cli("push", "train-rm", "me/rm", "--run-dir", mini_run, "--license", "mit")
    assert done.returncode == 0, done.stderr
    head, body = parts_of(hub.files["me/rm", "main"]["README.md"])
    assert head["license"] == "mit"
    assert head["pipeline_tag"] == "token-classification"
    assert "| rerank | hard | weighted-voting (prod) | 8 |" in body
    assert "e2h rerank --reward-model me/rm" in body
    rows = [line.split(" | ")[0] for line in body.splitlines() if " | problems: " in line]
    assert rows == ["| pretrain", "| rm-samples", "| supervise"]


def test_hidden_answers_are_sent_on_request_only(cli: Cli, hub: HubStandIn, mini_run: Path) -> None:
    push = ("push", "split", "me/mini-split", "--run-dir", mini_run)
    done = cli(*push)
    assert done.returncode == 0, done.stderr
    assert hub.created["me/mini-split"]["type"] == "dataset"
    sent = hub.files["me/mini-split", "main"]
    assert "hard-answers.jsonl" not in sent
    assert {"easy.jsonl", "hard.jsonl", "test.jsonl", "validation.jsonl", "split.json"} < set(sent)
    hidden = [row["answer"] for _, row in read_jsonl(mini_run / "split/hard-answers.jsonl")]
    assert hidden and all("answer" not in row or row["answer"] is None
                          for row in map(json.loads, sent["hard.jsonl"].splitlines()))  # fmt: skip
    head, body = parts_of(sent["README.md"])
    assert {"config_name": "easy", "data_files": "easy.jsonl"} in head["configs"]
    assert 'load_dataset("me/mini-split", "easy", split="train")' in body
    done = cli(*push, "--with-hidden-answers", "--revision", "full")
    assert done.returncode == 0, done.stderr  # the repository exists by now
    assert "hard-answers.jsonl" in hub.files["me/mini-split", "full"]
    assert "hard-answers.jsonl" not in hub.files["me/mini-split", "main"]


def test_results_with_their_tables(cli: Cli, hub: HubStandIn, mini_run: Path) -> None:
    done = cli("push", "rerank", "me/votes", "--run-dir", mini_run)
    assert done.returncode == 0, done.stderr
    sent = hub.files["me/votes", "main"]
    scores = (mini_run / "rerank/scores/scores.parquet").read_bytes()
    assert sent["scores/scores.parquet"] == scores
    tables = (mini_run / "rerank/results.md").read_text().splitlines()
    body = parts_of(sent["README.md"])[1]
    assert all(line.removeprefix("## ") in body for line in tables)


def test_a_dry_run_sends_nothing(
    cli: Cli, hub: HubStandIn, mini_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")
    monkeypatch.delenv("HF_TOKEN")
    done = cli("push", "sft", "me/x", "--run-dir", run, "--dry-run")
    assert done.returncode == 0, done.stderr
    size = (run / "sft/model.safetensors").stat().st_size
    assert f"{size:,}  model.safetensors" in done.stdout
    assert "# x (tiny scale)" in (run / "report/sft-card.md").read_text()
    assert hub.created == {}


def test_rows_with_hard_labels_are_refused(
    cli: Cli, hub: HubStandIn, mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "supervise")
    folder = StageFolder(run / "supervise")
    counts = folder.record["counts"]
    edit_record(folder, counts={**counts, "seen": {"labels": [1, 2, 3, 4]}})
    push = ("push", "supervise", "me/rows", "--run-dir", run)
    assert_one_line(cli(*push), "hard problems (level 4)", "--with-hidden-answers")
    done = cli(*push, "--with-hidden-answers")
    assert done.returncode == 0, done.stderr
    assert "prm.jsonl" in hub.files["me/rows", "main"]


def test_only_files_of_the_stage_as_it_was_finished(
    cli: Cli, hub: HubStandIn, mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")
    sft = StageFolder(run / "sft")
    push = ("push", "sft", "me/x", "--run-dir", run)
    # Pickled weights and other files are not sent, even if the record has them.
    for name in ("pytorch_model.bin", "rows.jsonl", "unfinished/checkpoints/model.safetensors"):
        (sft.path / name).parent.mkdir(parents=True, exist_ok=True)
        (sft.path / name).write_bytes(b"x")
    write_json(sft.path / "secret.json", {})
    outputs = sft.record["outputs"]
    done = cli(*push)
    assert_one_line(done, "rows.jsonl has changed")
    (sft.path / "rows.jsonl").write_bytes((mini_run / "sft/rows.jsonl").read_bytes())
    done = cli(*push)
    assert done.returncode == 0, done.stderr
    assert set(hub.files["me/x", "main"]) == MODEL
    # A link that leads out of the folder, to the same content.
    target = tmp_path / "elsewhere.json"
    (sft.path / "config.json").rename(target)
    (sft.path / "config.json").symlink_to(target)
    assert_one_line(cli(*push), "leads out of the folder")
    (sft.path / "config.json").unlink()
    target.rename(sft.path / "config.json")
    edit_record(sft, outputs={k: v for k, v in outputs.items() if not k.endswith("safetensors")})
    assert_one_line(cli(*push), "no weights as safetensors")
    edit_record(sft, status="failed")
    assert_one_line(cli(*push), "sft is failed, not finished")
    assert_one_line(cli("push", "stf", "me/x", "--run-dir", run), "no stage 'stf'")


@pytest.mark.parametrize(
    ("part", "status", "words"),
    [
        ("/repos/create", 403, "write access"),
        ("/preupload/", 404, "no such owner"),
        ("/commit/", 409, "try again"),
        ("/lfs/", 507, "507"),
    ],
)
def test_refusals_of_the_hub_in_one_line(
    cli: Cli, hub: HubStandIn, mini_run: Path, part: str, status: int, words: str
) -> None:
    hub.refuse[part] = status
    done = cli("push", "sft", "me/x", "--run-dir", mini_run)
    assert_one_line(done, str(status), words, code=1)


def test_no_token_a_wrong_one_no_network_and_a_bad_name(
    cli: Cli, hub: HubStandIn, mini_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = ("push", "sft", "me/x", "--run-dir", mini_run)
    assert_one_line(cli("push", "sft", "a/b/c", "--run-dir", mini_run), "OWNER/NAME")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert_one_line(cli(*push), "401", "hf auth login", code=1)
    monkeypatch.delenv("HF_TOKEN")
    assert_one_line(cli(*push), "no token", "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with monkeypatch.context() as other:
        other.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        assert_one_line(cli(*push), "http://127.0.0.1:9", code=1)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert_one_line(cli(*push), "HF_HUB_OFFLINE is set", code=1)


def test_the_endpoint_and_token_of_the_environment(
    cli_process: Cli, hub: HubStandIn, mini_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0",
                        "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    done = cli_process("push", "sample", "mine", "--run-dir", mini_run)
    assert done.returncode == 0, done.stderr
    sent = hub.files["me/mine", "main"]
    assert sent["samples.parquet"] == (mini_run / "sample/samples.parquet").read_bytes()
    assert hub.messages[0].startswith("Stage sample at tiny scale, by e2h")
