"""Sampling and scoring: engines (vLLM, transformers), batched reward models, worker processes.

``select_engine`` and ``open_engine`` choose and load what generates text, ``sample_all`` draws the
missing samples of a job, ``score_samples`` scores a table of samples into a folder, ``score_texts``
scores a list of solutions and ``token_scores`` shows where a solution is scored.
"""

import lazy_loader

# Imported on first use, since they import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engines.base": ["SamplingParameters", "Request"],
        "engines.select": ["open_engine", "select_engine"],
        "sampling": ["SamplingJob", "read_samples", "sample_all"],
        "scoring": ["score_samples", "score_texts", "token_scores"],
    },
)
