"""Losses by hand, and trainings that go on where they were stopped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, TrainerCallback

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.models import tiny
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.models.reward_model import load_reward_model, new_reward_model
from e2h_cli.settings.base import TrainingSettings
from e2h_cli.training import trainer
from e2h_cli.training.reward_losses import token_loss
from e2h_cli.training.trainer import NO_LOSS, LengthGrouped, Row, fit, freeze, last_checkpoint
from tests import builders

TOKENS = tiny.tokenizer()


def test_token_loss_by_hand() -> None:
    """Two labelled tokens: -log sigmoid(2) and -log(1 - sigmoid(-1)), each log(1 + e^-|z|)."""
    logits = torch.tensor([[[2.0], [-1.0], [5.0]]])
    labels = torch.tensor([[1.0, 0.0, float(NO_LOSS)]])
    expected = (0.126928 + 0.313262) / 2
    outputs = SimpleNamespace(logits=logits)
    assert token_loss(outputs, labels).item() == pytest.approx(expected, abs=1e-5)
    assert token_loss(outputs, labels, 4).item() == pytest.approx(expected / 2, abs=1e-5)


def test_a_soft_label_is_least_loss_at_its_own_probability() -> None:
    labels = torch.tensor([[0.25]])
    losses = [
        token_loss(SimpleNamespace(logits=torch.tensor([[[z]]])), labels).item()
        for z in (-2.0, torch.tensor(0.25).logit().item(), 0.0)
    ]
    assert losses[1] == min(losses)


def test_padding_changes_no_loss() -> None:
    logits = torch.randn(1, 3, 1)
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    padded = torch.cat([logits, torch.full((1, 2, 1), 9.0)], 1)
    more = torch.cat([labels, torch.full((1, 2), float(NO_LOSS))], 1)
    short, long = (
        token_loss(SimpleNamespace(logits=a), b) for a, b in ((logits, labels), (padded, more))
    )
    assert short.item() == pytest.approx(long.item())


def new_model() -> Any:
    torch.manual_seed(0)
    return tiny.model(TOKENS, hidden=16, layers=1, heads=2)


def rows() -> list[Row]:
    return [Row([3, 7 + i % 10, 8, 9, 2], [NO_LOSS, 7 + i % 10, 8, 9, 2]) for i in range(64)]


def train(model: Any, folder: Path, settings: TrainingSettings) -> list[dict[str, float]]:
    fit(model, TOKENS, rows(), settings, scratch=folder, log=folder / "log.jsonl", title="t")
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


class Killed(BaseException):
    """What a kill looks like to the training loop."""


def test_a_killed_training_goes_on_with_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(steps=60, batch_size=8, learning_rate=1e-2, checkpoint_seconds=1e-9)
    whole = train(new_model(), tmp_path / "whole", settings)

    class Kill(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 33:
                raise Killed

    plain = trainer._Trainer
    monkeypatch.setattr(trainer, "_Trainer", lambda **options: _with(plain(**options), Kill()))
    with pytest.raises(Killed):
        train(new_model(), tmp_path / "cut", settings)
    monkeypatch.setattr(trainer, "_Trainer", plain)
    checkpoint = last_checkpoint(tmp_path / "cut/checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-33"
    resumed = train(new_model(), tmp_path / "cut", settings)
    assert [e["step"] for e in resumed] == [e["step"] for e in whole] == [10, 20, 30, 40, 50, 60]
    for a, b in zip(whole, resumed, strict=True):
        # The entry of step 40 averages the steps since the checkpoint, not the last ten.
        assert a["loss"] == pytest.approx(b["loss"], rel=0.1 if a["step"] == 40 else 1e-5)


def _with(trainer_: Any, callback: TrainerCallback) -> Any:
    trainer_.add_callback(callback)
    return trainer_


def test_rows_of_like_length_share_a_batch_and_none_is_lost() -> None:
    lengths = [i % 37 + 1 for i in range(1003)]
    sampler = LengthGrouped(lengths, 8, seed=0)
    first = list(sampler)
    assert sorted(first) == list(range(1003))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [
        max(lengths[j] for j in first[i : i + 8]) - min(lengths[j] for j in first[i : i + 8])
        for i in range(0, 1000, 8)
    ]
    assert sum(spread) / len(spread) < 2


def test_half_written_checkpoints_are_removed(tmp_path: Path) -> None:
    for step, state in (("5", '{"global_step": 5}'), ("9", '{"global_'), ("7", None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-5"]
    assert last_checkpoint(tmp_path / "nothing") is None


def test_micro_batches_change_no_loss(tmp_path: Path) -> None:
    one, two = (
        train(
            new_model(),
            tmp_path / str(micro),
            TrainingSettings(steps=10, batch_size=8, micro_batch=micro, learning_rate=1e-2),
        )
        for micro in (8, 2)
    )
    assert one[-1]["loss"] == pytest.approx(two[-1]["loss"], rel=0.02)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    model = new_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="loss is nan at step 10"):
        train(model, tmp_path, TrainingSettings(steps=20, batch_size=8, learning_rate=1e-2))


def test_frozen_parts_do_not_move(tmp_path: Path) -> None:
    model = new_model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    train(model, tmp_path, TrainingSettings(steps=3, batch_size=8, learning_rate=1e-2, freeze=True))
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert not any("embed" in n or "norm" in n or "lm_head" in n for n in moved)
    freeze(model)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == moved


def test_a_new_reward_model_says_one_half_everywhere(tmp_path: Path) -> None:
    place = str(builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe")))
    model = new_reward_model(place, "prm")
    logits = model(torch.tensor([[5, 6, 7]])).logits
    assert logits.shape == (1, 3, 1)
    assert torch.equal(logits, torch.zeros_like(logits))
    model.save_pretrained(tmp_path / "rm")
    again = load_reward_model(str(tmp_path / "rm"))
    assert again.config.e2h["kind"] == "prm"
    assert "separator" in again.config.e2h["step_score_at"]


def test_other_models_are_refused_as_reward_models(tmp_path: Path) -> None:
    place = str(builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe")))
    with pytest.raises(InputError, match="not a reward model"):
        load_reward_model(place)
    other = AutoModelForTokenClassification.from_pretrained(place, num_labels=2)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="not a reward model"):
        load_reward_model(str(tmp_path / "other"))


def test_broken_model_folders_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for load in (load_generator, load_tokenizer):
        with pytest.raises(InputError) as error:
            load(str(tmp_path))
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)
