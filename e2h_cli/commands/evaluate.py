"""``e2h eval``."""

from e2h_cli.commands.stage import stage_command

evaluate = stage_command("eval")
