"""``e2h pretrain``."""

from e2h_cli.commands.stage import stage_command

pretrain = stage_command("pretrain")
