"""The same Llama with wider attention heads, for attention kernels with a minimum head size."""

from __future__ import annotations

import copy

import torch
from transformers import LlamaPreTrainedModel, PreTrainedModel

from e2h_cli.common.errors import InputError


def with_head_size(model: PreTrainedModel, size: int) -> PreTrainedModel:
    """A model that computes the same function with heads of ``size`` dimensions.

    Queries, keys, values and the columns of the output projection are padded with zeros, which add
    nothing to any product. Two things depend on the head size and are corrected: the scale
    1/sqrt(size), by scaling the queries; and the rotary frequencies base^(-2j/size), by moving the
    old dimension pair j to where the new size has its frequency, at j * size / old size.

    Args:
        model: a Llama with the default rotary embedding, and any head.
        size: a multiple of the model's head size.

    Raises:
        InputError: another kind of model, or a size that is no multiple.
    """
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    old = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if not isinstance(model, LlamaPreTrainedModel) or rope.get("rope_type", "default") != "default":
        raise InputError(f"only a plain Llama can be given heads of {size} dimensions")
    if size % old:
        raise InputError(f"heads of {old} dimensions cannot become heads of {size}")
    pair = torch.arange(old // 2) * (size // old)
    positions = torch.cat([pair, size // 2 + pair])
    wider = copy.deepcopy(config)
    wider.head_dim = size
    new: PreTrainedModel = type(model)(wider).to(model.dtype)
    state = model.state_dict()
    for name, weight in state.items():
        if "self_attn" not in name or name.endswith("o_proj.bias"):
            continue
        # Rows of weights and biases are head dimensions; in the output projection columns are.
        is_output = ".o_proj." in name
        heads = (weight.T if is_output else weight).unflatten(0, (-1, old))
        padded = heads.new_zeros(heads.shape[0], size, *heads.shape[2:])
        padded[:, positions] = heads * (size / old) ** 0.5 if ".q_proj." in name else heads
        state[name] = padded.flatten(0, 1).T if is_output else padded.flatten(0, 1)
    new.load_state_dict(state)
    if model.can_generate():
        new.generation_config = model.generation_config
    return new
