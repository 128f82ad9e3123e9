"""Packed weights change a layer by rounding only, and only while they are used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from e2h_cli.inference.engines.packed_weights import PackedWeights


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@torch.inference_mode()
def test_packed_layers_differ_by_rounding(dtype: torch.dtype, error: float) -> None:
    torch.manual_seed(0)
    large, small = nn.Linear(320, 256), nn.Linear(256, 8, bias=False)
    model = nn.Sequential(large, small).to(dtype)
    x = torch.randn(3, 5, 320, dtype=dtype)
    expected = model(x)
    weights = PackedWeights(model)
    with weights.used():
        found = model(x)
        if dtype == torch.float32:
            assert "forward" in vars(large)
        assert "forward" not in vars(small)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, atol=error, rtol=error)
    assert "forward" not in vars(large)
    torch.testing.assert_close(model(x), expected, atol=0, rtol=0)
