"""Trainings that resume where they were killed, stop early, and refuse a loss of NaN."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForTokenClassification

from e2h_cli.common.errors import RunError
from e2h_cli.models import tiny
from e2h_cli.settings.base import SupervisedSettings
from e2h_cli.training.checkpoints import last_checkpoint
from e2h_cli.training.reward_modeling import token_loss
from e2h_cli.training.token_rows import NO_LOSS, Row
from e2h_cli.training.trainer import Validation, freeze, train_model
from tests import builders

TOKENS = tiny.tokenizer()
FAST = {"batch_size": 8, "learning_rate": 1e-2}


def generator() -> Any:
    torch.manual_seed(0)
    return tiny.model(TOKENS, hidden_size=16, num_layers=1, num_heads=2)


def classifier() -> Any:
    config = generator().config
    config.num_labels = 1
    torch.manual_seed(0)
    return LlamaForTokenClassification(config)


def rows(labels: Callable[[int], list[float]] | None = None) -> list[Row]:
    ids = [np.array([3, 7 + i % 10, 8, 9, 2], dtype=np.int32) for i in range(63)]
    if labels is None:
        return [Row(x, np.where(x == 3, NO_LOSS, x)) for x in ids]
    return [Row(x, np.array(labels(i), dtype=np.float32)) for i, x in enumerate(ids)]


# The second token tells the label: a classifier learns it in some steps.
LABELLED = rows(lambda i: [NO_LOSS, i % 10 < 4, NO_LOSS, NO_LOSS, i % 10 < 4])


def train(model: Any, folder: Path, examples: list[Row] | None = None, **options: Any) -> dict:
    steps = options.pop("max_steps", None)
    settings = SupervisedSettings(**FAST, max_steps=steps, **options.pop("settings", {}))
    output = options.pop("output", folder)
    return train_model(
        model, TOKENS, examples or rows(), settings, output, folder / "scratch", "t", **options
    )


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


class Killed(BaseException):
    """What a kill looks like to the training loop."""


def killing(step: int) -> Callable[..., torch.Tensor]:
    """The loss of reward models, which kills the training at a call."""
    calls = 0

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return token_loss(*arguments, **options)

    return loss


def test_a_killed_training_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    options = {"settings": {"checkpoint_seconds": 1e-9}, "max_steps": 60}
    train(classifier(), tmp_path / "whole", LABELLED, loss=token_loss, **options)
    with pytest.raises(Killed):
        train(classifier(), tmp_path / "cut", LABELLED, loss=killing(34), **options)
    checkpoint = last_checkpoint(tmp_path / "cut/scratch/checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-33"
    train(classifier(), tmp_path / "cut", LABELLED, loss=token_loss, **options)
    whole, resumed = log(tmp_path / "whole"), log(tmp_path / "cut")
    assert [e["step"] for e in resumed] == [e["step"] for e in whole] == [10, 20, 30, 40, 50, 60]
    for a, b in zip(whole, resumed, strict=True):
        # The entry of step 40 averages the steps since the checkpoint, not the last ten.
        if a["step"] != 40:
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_damaged_checkpoint_is_set_aside(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"settings": {"checkpoint_seconds": 1e-9}, "max_steps": 20}
    with pytest.raises(Killed):
        train(classifier(), tmp_path / "cut", LABELLED, loss=killing(8), **options)
    folder = tmp_path / "cut/scratch/checkpoints"
    file = folder / "checkpoint-7" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    # The program's logger does not propagate once the command line has set it up.
    logger = logging.getLogger("e2h_cli.training.checkpoints")
    logger.addHandler(caplog.handler)
    train(classifier(), tmp_path / "cut", LABELLED, loss=token_loss, **options)
    logger.removeHandler(caplog.handler)
    assert "checkpoint-7 is damaged" in caplog.text
    assert (folder / "torn-checkpoint-7").is_dir()
    assert [e["step"] for e in log(tmp_path / "cut")] == [10, 20]


def test_half_written_checkpoints_are_removed(tmp_path: Path) -> None:
    for step, state in (("5", '{"global_step": 5}'), ("9", '{"global_'), ("7", None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-5"]
    assert last_checkpoint(tmp_path / "nothing") is None


def validation(metric: Callable[[float], float], patience: int = 3) -> Validation:
    """Every five steps a function of the mean logit of the first token, which moves slowly."""
    return Validation(LABELLED[:8], lambda logits: metric(float(logits[:, 0].mean())), 5, patience)


def test_training_stops_without_a_new_best_and_keeps_the_best_weights(tmp_path: Path) -> None:
    seen: list[float] = []

    def metric(logit: float) -> float:
        seen.append(logit)
        return [0.3, 0.5, 0.4, 0.7, 0.7, 0.6, 0.1, 1.0][len(seen) - 1]

    model = classifier()
    counts = train(
        model, tmp_path, LABELLED, loss=token_loss, validation=validation(metric), max_steps=60
    )
    assert (counts["best_step"], counts["best_validation"], counts["steps"]) == (20, 0.7, 35)
    values = [e["validation"] for e in log(tmp_path) if "validation" in e]
    assert values == [0.3, 0.5, 0.4, 0.7, 0.7, 0.6, 0.1]
    saved = LlamaForTokenClassification.from_pretrained(tmp_path)
    for best in (model.eval(), saved):
        ids = torch.tensor(np.array([row.input_ids for row in LABELLED[:8]]))
        assert best(input_ids=ids).logits[:, 0].mean().item() == pytest.approx(seen[3], abs=1e-5)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_killed_training_stops_at_the_same_best(lora_rank: int, tmp_path: Path) -> None:
    """Wherever it is killed; also if the run was moved to another folder since."""
    settings = {"checkpoint_seconds": 1e-9, "lora_rank": lora_rank}
    options = {"settings": settings, "max_steps": 60, "validation": validation(math.cos, 4)}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = train(classifier(), whole, LABELLED, loss=token_loss, **options)
    for step in (3, 9, 14):
        with pytest.raises(Killed):
            train(classifier(), cut, LABELLED, loss=killing(step), **options)
        cut = cut.rename(tmp_path / f"moved-{step}")
    counts = train(classifier(), cut, LABELLED, loss=token_loss, **options)
    # The last logged loss averages the steps since the checkpoint.
    assert {**counts, "final_loss": 0} == {**expected, "final_loss": 0}
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, cut))
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_a_training_killed_after_its_last_step_makes_no_further_one(tmp_path: Path) -> None:
    """The last step is the best, and it does not end an epoch."""
    steps = iter(range(100))
    better = validation(lambda logit: float(next(steps)))
    options = {"settings": {"epochs": 30}, "max_steps": 13, "loss": token_loss}
    (tmp_path / "file").touch()
    with pytest.raises(RunError):
        train(classifier(), tmp_path, LABELLED, validation=better, output=tmp_path / "file/x",
              **options)  # fmt: skip
    counts = train(classifier(), tmp_path, LABELLED, validation=better, **options)
    assert counts["steps"] == counts["best_step"] == 13
    weights = load_file(tmp_path / "scratch/checkpoints/checkpoint-13/model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(weights[name], saved[name]) for name in saved)


def test_micro_batches_change_no_loss(tmp_path: Path) -> None:
    for micro in (8, 2):
        train(
            generator(), tmp_path / str(micro), settings={"micro_batch_size": micro}, max_steps=10
        )
    one, two = (log(tmp_path / str(micro))[-1]["loss"] for micro in (8, 2))
    assert one == pytest.approx(two, rel=1e-3)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    model = generator()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="loss is nan at step 10"):
        train(model, tmp_path, max_steps=20)


def test_frozen_parts_do_not_move(tmp_path: Path) -> None:
    model = generator()
    before = {name: p.clone() for name, p in model.named_parameters()}
    train(model, tmp_path, settings={"freeze": True}, max_steps=3)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert not any("embed" in n or "norm" in n or "lm_head" in n for n in moved)
    freeze(model)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == moved


def test_micro_batches_change_no_gradient(tmp_path: Path) -> None:
    """A reward model's batch of 16 rows of uneven lengths, whole and in micro-batches of 4."""
    whole_rows = rows(lambda i: [NO_LOSS, i % 2, *([0] * (i % 3)), *([1] * (3 - i % 3))])[:16]
    uneven = [
        Row(r.input_ids[: 2 + i % 4], r.labels[: 2 + i % 4]) for i, r in enumerate(whole_rows)
    ]
    found: dict[int, list[torch.Tensor]] = {}
    for size in (16, 4):
        config = classifier().config
        config.classifier_dropout = 0.0
        torch.manual_seed(0)
        own = SupervisedSettings(
            batch_size=16, micro_batch_size=size, max_steps=1, learning_rate=1e-2
        )
        folder = tmp_path / str(size)
        with builders.gradients() as found[size]:
            train_model(
                LlamaForTokenClassification(config), TOKENS, uneven, own, folder,
                folder / "scratch", "t", loss=token_loss,
            )  # fmt: skip
    [whole], [cut] = found[16], found[4]
    assert float((whole - cut).norm()) <= 1e-6 * float(whole.norm()) > 0
