"""Training: the tiny base model, supervised fine-tuning, reward models."""
