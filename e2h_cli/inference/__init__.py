"""Sampling and scoring: engines (vLLM, transformers), batched reward models, worker processes.

``select_engine`` and ``open_engine`` choose and load what generates text, ``sample_all`` draws the
missing samples of a job, ``score_samples`` scores a table of samples into a folder, ``score_texts``
scores a list of solutions and ``token_scores`` shows where a solution is scored.
"""

from importlib import import_module
from typing import Any

# Loaded on first use, since they import torch.
_MODULES = {
    "SamplingParameters": "engines.base",
    "Request": "engines.base",
    "open_engine": "engines.select",
    "select_engine": "engines.select",
    "SamplingJob": "sampling",
    "read_samples": "sampling",
    "sample_all": "sampling",
    "score_samples": "scoring",
    "score_texts": "scoring",
    "token_scores": "scoring",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
