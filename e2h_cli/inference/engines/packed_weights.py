"""Weights of linear layers in the layout of oneDNN, for batches of few tokens on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Smaller matrices stay in the CPU's cache, and the call itself costs more than it saves.
_SMALLEST = 256 * 256
# The copies need as much memory again, so a larger model keeps its layers.
_MOST_BYTES = 4 * 2**30


class PackedWeights:
    """Copies of the large weight matrices of a model; does nothing on a GPU.

    A product of a few rows with a large matrix spends most of its time on reading the matrix.
    oneDNN reads its own layout up to three times as fast as PyTorch does the matrix of a layer.
    Outputs differ by rounding only. The copies do not follow later changes of the weights.
    """

    def __init__(self, model: nn.Module) -> None:
        linear = [m for m in model.modules() if type(m) is nn.Linear and _can_pack(m.weight)]
        size = sum(module.weight.nbytes for module in linear)
        self._forwards = [(m, _packed(m)) for m in linear] if size <= _MOST_BYTES else []

    @contextmanager
    def used(self) -> Iterator[None]:
        """Compute the layers with the copies, in inference mode."""
        # An instance's own ``forward`` goes before that of its class.
        for module, forward in self._forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self._forwards:
                del module.__dict__["forward"]


def _can_pack(weight: torch.Tensor) -> bool:
    mkldnn = torch.backends.mkldnn
    usable = weight.device.type == "cpu" and mkldnn.is_available() and weight.numel() >= _SMALLEST
    bf16 = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return usable and (weight.dtype == torch.float32 or bf16)


def _packed(module: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of a linear layer. The operators are those that torch.compile uses."""
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), None)
    bias = None if module.bias is None else module.bias.detach()

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return result

    return forward
