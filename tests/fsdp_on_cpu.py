"""The command line of e2h, with FSDP of accelerate on CPUs; accelerate itself has it on GPUs only.

Run with ``accelerate launch --config_file tests/recipes/fsdp-cpu.yaml -m tests.fsdp_on_cpu``.
"""

from __future__ import annotations

from typing import Any

from accelerate.state import AcceleratorState, DistributedType, PartialState

_init = AcceleratorState.__init__


def _sharding_init(self: AcceleratorState, *arguments: Any, **options: Any) -> None:
    if not AcceleratorState._shared_state:
        # The type whose config of FSDP is read; the processes are still those of gloo on CPUs.
        PartialState(cpu=True).distributed_type = DistributedType.MULTI_GPU
    _init(self, *arguments, **options)


AcceleratorState.__init__ = _sharding_init  # type: ignore[method-assign]

if __name__ == "__main__":
    from e2h_cli.cli.app import main

    main()
