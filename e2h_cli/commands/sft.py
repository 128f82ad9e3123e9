"""``e2h sft``."""

from e2h_cli.commands.stage import stage_command

sft = stage_command("sft")
