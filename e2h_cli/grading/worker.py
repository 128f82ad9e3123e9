"""The worker process: reads questions from its standard input, writes verdicts to its output.

One JSON list ``[[task, gold, answer], ...]`` per line comes in; one JSON list ``[verdict,
reason, milliseconds]`` per question goes out, as soon as it is known. Ends when its input ends.
Started as ``python -m e2h_cli.grading.worker SECONDS``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

_GRACE = 2  # seconds; the parent kills first, this is for a worker whose parent has died


def main() -> None:
    """Answer questions until the input ends."""
    limit = float(sys.argv[1])
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    from e2h_cli.grading.library import judge, prepare
    from e2h_cli.grading.sandbox import lock_down

    prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel's own end, even inside of C code
    lock_down()
    output.write("ready\n")
    output.flush()
    for line in sys.stdin:
        for task, gold, answer in json.loads(line):
            signal.setitimer(signal.ITIMER_REAL, limit + _GRACE)
            start = time.perf_counter()
            verdict, reason = judge(task, gold, answer)
            elapsed = (time.perf_counter() - start) * 1000
            signal.setitimer(signal.ITIMER_REAL, 0)
            output.write(json.dumps([verdict, reason, round(elapsed, 3)]) + "\n")
            output.flush()


if __name__ == "__main__":
    main()
