"""The settings of every command: types, bounds, defaults and one sentence each."""
