"""Loading generators and reward models of any family, and encoding solutions for them.

``load_generator``, ``load_tokenizer``: a causal language model and its tokenizer.
``open_reward_model``: a reward model of any family. ``encode``: a solution as tokens, with the
positions at which its steps and its outcome are scored. The names below import torch when they are
first used.
"""

import lazy_loader

# Imported on first use, since they import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "reward_formats": [
            "RewardModel",
            "family_of",
            "kind_of",
            "open_reward_model",
        ],
        "token_spans": ["EncodedSolution", "encode"],
        "loading": ["load_generator", "load_tokenizer"],
        "reward_model": ["load_reward_model", "new_reward_model"],
    },
)
