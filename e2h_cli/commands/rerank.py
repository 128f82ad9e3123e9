"""``e2h rerank``."""

from e2h_cli.commands.stage import stage_command

rerank = stage_command("rerank")
