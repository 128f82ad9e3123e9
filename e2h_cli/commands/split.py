"""``e2h split``."""

from e2h_cli.commands.stage import stage_command

split = stage_command("split")
