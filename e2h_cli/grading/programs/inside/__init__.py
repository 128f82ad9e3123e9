"""The part that runs inside of the sandbox, in a Python of its own: standard library alone."""
