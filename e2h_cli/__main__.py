"""``python -m e2h_cli``."""

from e2h_cli.cli.app import main

main()
