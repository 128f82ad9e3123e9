"""The ``e2h`` program, and ``python -m e2h_cli``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Answer a shell that completes a command line; else run the command line."""
    # A shell waits for the answer at every key, so nothing else is imported before.
    if "_E2H_COMPLETE" in os.environ:
        from e2h_cli.cli.completion import print_answer

        if (code := print_answer()) is not None:
            sys.exit(code)
    from e2h_cli.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
