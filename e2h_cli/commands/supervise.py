"""``e2h supervise``."""

from e2h_cli.commands.stage import stage_command

supervise = stage_command("supervise")
