"""``e2h sample``."""

from e2h_cli.commands.stage import stage_command

sample = stage_command("sample")
