"""The registry of commands, recipes, the runner and the run folder."""
