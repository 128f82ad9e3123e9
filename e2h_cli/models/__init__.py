"""Loading models, the reward head, and the tiny model that is trained from scratch."""
