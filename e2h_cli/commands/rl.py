"""``e2h rl``."""

from e2h_cli.commands.stage import stage_command

rl = stage_command("rl")
