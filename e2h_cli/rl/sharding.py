"""Models of PPO and GRPO whose weights, gradients and Adam moments are spread over the processes.

``accelerate launch`` with a config file of FSDP asks for it. FSDP2 keeps a part of each weight in
every process (a ``DTensor``) and gathers a layer's weights while it is computed. All functions that
gather must be called by all processes. On whole models they do nothing or take what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import disable_fsdp_ram_efficient_loading, gather_object
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.rl.rollout_batch import Batch


def shard(models: Iterable[torch.nn.Module]) -> None:
    """Spread the weights of models on the CPU over the devices of all processes, in place.

    The weights are those of rank 0. Gradients are summed over the processes, not averaged: each has
    its share of the rows, and the losses are divided by the tokens of all rows.

    Raises:
        InputError: the config of accelerate has another version of FSDP, or there is no GPU.
    """
    # Passes are in bf16 by ``PolicyModels.autocast``, as those of whole models.
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    if not accelerator.is_fsdp2:
        raise InputError(
            "PPO and GRPO need FSDP2, on GPUs", hint="take recipes/accelerate/fsdp.yaml"
        )
    for model in models:
        fsdp2_prepare_model(accelerator, model)
        for module in _fsdp_modules(model):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(enable=True)
    # Models that are loaded from now on are whole in every process.
    disable_fsdp_ram_efficient_loading()


def reshard(model: torch.nn.Module) -> None:
    """Free what a forward pass without a backward pass has gathered."""
    for module in _fsdp_modules(model):
        module.reshard()


def whole(tree: Any, *, keep: bool = True) -> Any:
    """A tensor, or a nest of them as of a state dict, with the parts of all processes together.

    Gathered tensors are on the CPU; with ``keep`` false they are None instead: other processes than
    the one that needs them take part only.
    """

    def gathered(tensor: DTensor) -> torch.Tensor | None:
        full = tensor.full_tensor()
        return full.cpu() if keep else None

    return tree_map_only(DTensor, gathered, tree)


def whole_weights(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and whole tensor of each weight, on the device; one after the other is gathered."""
    for name, p in model.named_parameters():
        yield name, (p.full_tensor() if isinstance(p, DTensor) else p).detach()


def trained_weights(model: torch.nn.Module, *, keep: bool = True) -> dict[str, Any]:
    """The weights that are trained, by name; see ``whole``."""
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return dict(whole(trained, keep=keep))


def load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Set weights by name, from whole tensors that every process has."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in weights:
                p.copy_(_part_of(weights[name], p))


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state dict of an optimizer, of whole tensors that every process has."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, values in state["state"].items():
        for key, value in values.items():
            if value.shape == parameters[index].shape:
                values[key] = _part_of(value, parameters[index])
    optimizer.load_state_dict(state)


def fill_up(
    micro_batches: Iterable[tuple[list[int], Batch]], batch: Batch, device: torch.device
) -> Iterator[tuple[list[int], Batch]]:
    """Micro-batches of this process, and empty ones up to the number of the others.

    Every pass gathers weights from all processes, so that all must do as many. An empty one is the
    first row with no weight in any loss, and has no row numbers.
    """
    if not distributed.shards_models():
        yield from micro_batches
        return
    own = list(micro_batches)
    most = max(gather_object([len(own)]))
    yield from own
    nothing = batch.micro_batch([0], device)
    nothing.completion_mask.zero_()
    nothing.return_mask.zero_()
    yield from [([], nothing)] * (most - len(own))


def memory_of_parts(
    models: Mapping[str, Any], optimizers: Mapping[str, Any]
) -> dict[str, list[float]]:
    """What each process holds of the trained models and of their Adam moments, in MB."""
    held = {"weights": models, "Adam": optimizers}
    states = {name: [x.state_dict() for x in of.values()] for name, of in held.items()}
    return {name: _megabytes_held(state) for name, state in states.items()}


def _megabytes_held(tree: Any) -> list[float]:
    """Memory of the tensors of a nest, or of their parts, in each process."""
    tensors = [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]
    parts = [t.to_local() if isinstance(t, DTensor) else t for t in tensors]
    # Tied weights are one.
    size = sum({part.data_ptr(): part.nbytes for part in parts}.values())
    return list(gather_object([size / 1e6]))


def _part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The part of a whole tensor that this process holds of ``like``."""
    if not isinstance(like, DTensor):
        return tensor
    # From every process's own copy, so that nothing is sent.
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _fsdp_modules(model: torch.nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
