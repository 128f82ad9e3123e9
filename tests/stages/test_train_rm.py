"""``e2h train-rm``: what is trained on, when it stops, and what comes out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models import load_reward_model, load_tokenizer, open_reward_model
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.stages.train_rm import labelled_rows
from e2h_cli.training import auc_validation
from e2h_cli.training.reward_modeling import is_held_out
from tests.conftest import MINI, copy_stages, e2h


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    return copy_stages(
        mini_run, tmp_path / "run", "split", "pretrain", "sft", "rm-samples", "supervise"
    )


def arguments(run: Path, *options: str) -> list[str]:
    return ["train-rm", "--recipe", str(MINI), "--run-dir", str(run), *options]


def train(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return e2h(*arguments(run, *options), cwd=run.parent)


def counts(run: Path) -> dict[str, Any]:
    return json.loads((run / "train-rm/stage.json").read_text())["counts"]


def test_what_is_left_out_is_said(run: Path) -> None:
    done = train(run, "--max-length", "70")
    assert done.returncode == 0, done.stderr
    found = counts(run)
    assert found["too_long"] > 0
    assert f"{found['too_long']:,} rows over 70 tokens" in done.stdout
    lines = (run / "train-rm/too-long.jsonl").read_text().splitlines()
    assert len(lines) == found["too_long"]
    nothing = train(run, "--max-length", "8", "--force")
    assert nothing.returncode == 2
    assert "no labelled row fits into 8 tokens; raise --max-length" in nothing.stderr


def test_kinds_take_their_rows(run: Path) -> None:
    folder = str(run / "supervise")
    prm, orm, both = (list(labelled_rows([folder], kind)) for kind in ("prm", "orm", "oprm"))
    assert prm
    assert orm
    assert both == prm + orm
    (run / "supervise/orm.jsonl").unlink()
    with pytest.raises(InputError, match="no orm rows here; it holds rows for sft, prm"):
        list(labelled_rows([folder], "orm"))


OPTIONS = (
    "--patience", "2", "--eval-steps", "5", "--validation-share", "0.3", "--max-steps", "60",
    "--rows", "mixed.jsonl",
)  # fmt: skip


@pytest.fixture
def mixed(run: Path) -> Path:
    """Rows with labels of both kinds: a step is right if its text ends with an even digit."""
    with (run.parent / "mixed.jsonl").open("w") as file:
        for line in (run / "supervise/prm.jsonl").open():
            row = json.loads(line)
            row["labels"] = [text[-1] in "02468" for text in row["completions"]]
            file.write(json.dumps(row) + "\n")
    return run.parent / "mixed.jsonl"


@pytest.mark.usefixtures("mixed")
def test_training_stops_when_validation_gets_no_better(run: Path) -> None:
    done = train(run, *OPTIONS, "--learning-rate", "0.01")
    assert done.returncode == 0, done.stdout + done.stderr
    log = [json.loads(line) for line in (run / "train-rm/log.jsonl").open()]
    measured = {e["step"]: e["validation"] for e in log if "validation" in e}
    assert all(0 <= value <= 1 for value in measured.values())
    found = counts(run)
    best = max(measured, key=lambda step: (measured[step], -step))
    assert found["best_step"] == best
    assert found["best_validation"] == pytest.approx(measured[best], abs=1e-4)
    assert max(measured) == found["steps"]
    assert found["steps"] == min(60, best + 10)
    assert auc_of_saved(run) == pytest.approx(found["best_validation"], abs=2e-5)


def auc_of_saved(run: Path) -> float:
    """The ROC AUC of the saved model on the held-out rows."""
    folder = str(run / "train-rm")
    rows = [row for row in labelled_rows([str(run.parent / "mixed.jsonl")], "prm")
            if is_held_out(row["id"], 0.3, 0)]  # fmt: skip
    validation = auc_validation(rows, load_tokenizer(folder), TrainRMSettings(patience=2))
    model = load_reward_model(folder)
    longest = max(len(row.input_ids) for row in validation.rows)
    logits = torch.zeros(len(validation.rows), longest, 1)
    with torch.no_grad():
        for i, row in enumerate(validation.rows):
            ids = torch.tensor(row.input_ids)[None]
            logits[i, : len(row.input_ids)] = model(input_ids=ids).logits[0]
    return validation.metric(logits.numpy())


PATIENT = ("--patience", "30", "--max-steps", "150", *OPTIONS[2:6], *OPTIONS[8:])


@pytest.mark.slow
@pytest.mark.usefixtures("mixed")
def test_kill_9_changes_neither_losses_nor_weights(run: Path, tmp_path: Path) -> None:
    """With early stopping: what was measured and the best weights survive, too."""
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    assert train(whole, *PATIENT).returncode == 0
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "e2h_cli",
             *arguments(run, *PATIENT, "--checkpoint-seconds", "0.01")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
            env=dict(os.environ),
        )  # fmt: skip
        wanted = 8 + 30 * kill
        deadline = time.monotonic() + 90
        folder = run / "train-rm/unfinished/checkpoints"
        while process.poll() is None and time.monotonic() < deadline:
            if any(int(p.name[11:]) >= wanted for p in folder.glob("checkpoint-*[0-9]")):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = train(run, *PATIENT, "--checkpoint-seconds", "0.01")
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout
    ours, theirs = counts(run), counts(whole)
    assert (ours["best_step"], ours["steps"]) == (theirs["best_step"], theirs["steps"])
    assert ours["best_validation"] == pytest.approx(theirs["best_validation"], abs=1e-6)
    a, b = (load_file(r / "train-rm/model.safetensors") for r in (run, whole))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_adapters_are_merged_into_a_plain_model(run: Path) -> None:
    done = train(
        run, "--lora-rank", "2", "--gradient-checkpointing", "--max-steps", "30",
        "--learning-rate", "0.01",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    merged = load_file(run / "train-rm/model.safetensors")
    plain = load_file(run / "pretrain/model.safetensors")
    assert not [name for name in merged if "lora" in name or "modules_to_save" in name]
    name = "model.layers.0.self_attn.q_proj.weight"
    change = merged[name] - plain[name]
    assert 0 < torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
    assert merged["score.weight"].abs().sum() > 0
    norm = "model.norm.weight"
    assert torch.equal(merged[norm], plain[norm])
    assert e2h(
        "rerank", "--recipe", MINI, "--run-dir", run, "--make-inputs", cwd=run.parent
    ).returncode == 0  # fmt: skip


def test_pairs_teach_which_is_better(run: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (run / "supervise/prm.jsonl").open()][:30]
    several = [(row["prompt"], template.SEPARATOR.join(row["completions"])) for row in rows]
    # A rule that can be learned in a few steps: the text with one more step is the better one.
    pairs = [{"prompt": p, "chosen": "b=1+1=2\n\n" + t, "rejected": t} for p, t in several]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, pairs)))
    pairwise = ("--loss", "pairwise", "--rows", str(file))
    done = train(run, *pairwise, "--max-steps", "60", "--learning-rate", "0.003")
    assert done.returncode == 0, done.stdout + done.stderr
    model = open_reward_model(str(run / "train-rm"))
    assert model.kind == "orm"
    tokens = load_tokenizer(str(run / "train-rm"))
    better = 0
    for pair in pairs[:20]:
        values = []
        for side in ("chosen", "rejected"):
            ids = [*tokens(pair["prompt"] + pair[side]).input_ids, tokens.eos_token_id]
            with torch.no_grad():
                out = model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
                values.append(model.head(out[None])[0].item())
        better += values[0] > values[1]
    assert better >= 18
    file.write_text(json.dumps({"prompt": "p", "chosen": "c"}))
    bad = train(run, *pairwise, "--force")
    assert bad.returncode == 2
    assert "pairs.jsonl:1: no text under 'rejected'" in bad.stderr


def test_a_generator_is_tuned_on_rows_of_supervision(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"prompt": template.prompt("a1 b+1"), "completion": text})
            for text in ["b=1+1=2\n\n# Answer\n\n2", "b=1+1=2"] * 8
        )
    )
    done = e2h("sft", "--recipe", MINI, "--run-dir", run, "--rows", file, "--force", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "sft/stage.json").read_text())
    assert found["counts"]["rows"] == 16
    assert "problems" not in found["inputs"] or not found["inputs"]["problems"]
