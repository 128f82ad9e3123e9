"""Training: supervised fine-tuning and reward modeling with transformers' Trainer.

``train_model`` trains on a list of ``Row``s (token ids with one label per token), resumes from the
last checkpoint, and saves the model. ``sft_row``, ``reward_row`` and ``pair_rows`` make the rows,
``token_loss`` and ``pair_loss`` are the losses of reward models, and ``auc_validation`` is what
they stop early by. The names below import torch when they are first used.
"""

import lazy_loader

# Imported on first use, since they import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "token_rows": ["NO_LOSS", "Row", "sft_row"],
        "trainer": ["Validation", "freeze", "train_model", "with_lora"],
        "reward_modeling": ["auc_validation", "pair_loss", "pair_rows", "reward_row", "token_loss"],
    },
)
