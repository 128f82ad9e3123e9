"""Run e2h and kill it (SIGKILL) at a chosen write.

``python -m tests.killed STAGE COUNT ARGUMENTS``

Every output appears by a rename in the stage's folder. The process kills itself just before the
COUNT-th of them, so that the kill always lands inside the stage. It exits with 99 where the stage
has fewer renames.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Install the hook and run the command line."""
    stage, count, *arguments = sys.argv[1:]
    left = int(count)

    def hook(event: str, details: tuple[object, ...]) -> None:
        nonlocal left
        if event == "os.rename" and f"/{stage}/" in str(details[1]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    from e2h_cli.cli.app import run_app

    run_app(arguments)
    sys.exit(99)


if __name__ == "__main__":
    main()
