"""``e2h train-rm``."""

from e2h_cli.commands.stage import stage_command

train_rm = stage_command("train-rm")
