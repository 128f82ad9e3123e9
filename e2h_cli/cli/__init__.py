"""The Typer app: options from settings, and the commands that are no stage."""
