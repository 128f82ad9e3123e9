"""Losses by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from e2h_cli.training.reward_modeling import pair_loss, token_loss
from e2h_cli.training.token_rows import NO_LOSS


def test_token_loss_by_hand() -> None:
    """Two labelled tokens: -log sigmoid(2) and -log(1 - sigmoid(-1)), each log(1 + e^-|z|)."""
    logits = torch.tensor([[[2.0], [-1.0], [5.0]]])
    labels = torch.tensor([[1.0, 0.0, float(NO_LOSS)]])
    expected = (0.126928 + 0.313262) / 2
    outputs = SimpleNamespace(logits=logits)
    assert token_loss(outputs, labels).item() == pytest.approx(expected, abs=1e-5)
    assert token_loss(outputs, labels, 4).item() == pytest.approx(expected / 2, abs=1e-5)


def test_a_soft_label_has_the_least_loss_at_its_own_probability() -> None:
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


def test_pair_loss_by_hand_and_by_sign() -> None:
    """-log sigmoid(2 - 0.5) and -log sigmoid(-1 - 1); a higher chosen reward costs less."""
    logits = torch.tensor([[[9.0], [2.0]], [[9.0], [0.5]], [[9.0], [-1.0]], [[9.0], [1.0]]])
    logits.requires_grad_()
    labels = torch.tensor([[NO_LOSS, 1.0], [NO_LOSS, 0.0]] * 2)
    loss = pair_loss(SimpleNamespace(logits=logits), labels)
    assert loss.item() == pytest.approx((0.201413 + 2.126928) / 2, abs=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1, 0] < 0 < logits.grad[1, 1, 0]
    halves = [
        pair_loss(SimpleNamespace(logits=logits[i : i + 2]), labels[i : i + 2], 4).item()
        for i in (0, 2)
    ]
    assert sum(halves) == pytest.approx(loss.item())
