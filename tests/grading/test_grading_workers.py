"""The worker processes: time limits, deaths, signals, threads, forks and the sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2h_cli.grading import RuleGrader, Verdict, get_grader
from e2h_cli.grading.grading_workers import WorkerPool
from e2h_cli.grading.verdict import Question

EASY = Question("library", r"$\sum_{k=1}^{4} k$", "$10$")
SLOW = Question("library", "$5$", r"$\sum_{k=0}^{99999999} k!$")


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(workers=1)
    yield pool
    pool.close()


def children(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def workers_of(pool: WorkerPool) -> list[int]:
    assert pool.supervisor is not None
    return children(pool.supervisor.pid)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def busy(process: int) -> bool:
    """Whether a process has computed within the last tenth of a second."""

    def ticks() -> int:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])

    before = ticks()
    time.sleep(0.1)
    return ticks() - before > 2


def test_a_stalled_pair_is_timed_out_and_the_rest_goes_on() -> None:
    pool = WorkerPool(workers=1, timeout=1.0)
    fine = [Question("library", str(n), str(n)) for n in range(1, 5)]
    verdicts = pool.ask([*fine[:2], SLOW, *fine[2:], SLOW])
    pool.close()
    kinds = [verdict.verdict for verdict in verdicts]
    assert kinds == ["right", "right", "timed out", "right", "right", "timed out"]
    assert verdicts[2].reason == "longer than 1 s"


@pytest.mark.slow
def test_a_killed_worker_is_replaced(pool: WorkerPool) -> None:
    assert pool.ask([EASY])[0].right
    for worker in workers_of(pool):
        os.kill(worker, signal.SIGKILL)
    assert pool.ask([EASY])[0].right


@pytest.mark.slow
def test_a_killed_supervisor_is_replaced(pool: WorkerPool) -> None:
    assert pool.ask([EASY])[0].right
    assert pool.supervisor is not None
    workers = workers_of(pool)
    pool.supervisor.kill()
    assert pool.ask([EASY])[0].right
    wait_until(lambda: not any(map(alive, workers)))


@pytest.mark.slow
def test_a_pair_that_ends_its_worker_costs_one_pair() -> None:
    pool = WorkerPool(workers=1, timeout=300)
    pool.ask([EASY])
    killed: list[int] = []

    def kill_twice() -> None:
        while len(killed) < 2:
            for worker in workers_of(pool):
                if worker not in killed and busy(worker):
                    os.kill(worker, signal.SIGKILL)
                    killed.append(worker)

    thread = threading.Thread(target=kill_twice)
    thread.start()
    verdicts = pool.ask([EASY, SLOW, EASY])
    thread.join(10)
    assert len(set(killed)) == 2
    assert verdicts[1] == Verdict("unreadable", "ended the worker process")
    assert verdicts[0].right and verdicts[2].right
    pool.close()


@pytest.mark.slow
def test_all_processes_end_with_their_parent() -> None:
    script = (
        "from e2h_cli.grading.grading_workers import WorkerPool\n"
        "from e2h_cli.grading.verdict import Question\n"
        f"pool = WorkerPool(workers=1, timeout=60)\npool.ask([{EASY!r}])\n"
        f"print('ready', flush=True)\npool.ask([{SLOW!r}])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    supervisor = children(parent.pid)
    workers = [worker for process in supervisor for worker in children(process)]
    assert len(supervisor) == len(workers) == 1
    wait_until(lambda: busy(workers[0]))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(map(alive, supervisor + workers)), seconds=5)


@pytest.mark.slow
def test_closing_ends_the_processes(pool: WorkerPool) -> None:
    pool.ask([EASY])
    assert pool.supervisor is not None
    processes = [pool.supervisor.pid, *workers_of(pool)]
    assert len(processes) == 2
    pool.close()
    assert not any(map(alive, processes))
    assert pool.ask([EASY])[0].right


@pytest.mark.slow
def test_an_interrupt_is_the_parents(pool: WorkerPool) -> None:
    pool.ask([EASY])
    assert pool.supervisor is not None
    supervisor, workers = pool.supervisor, workers_of(pool)
    for process in [supervisor.pid, *workers]:
        os.kill(process, signal.SIGINT)
    time.sleep(0.3)
    assert pool.ask([EASY])[0].right
    assert pool.supervisor is supervisor and workers_of(pool) == workers


@pytest.mark.slow
def test_an_interrupted_call_ends_the_workers(pool: WorkerPool) -> None:
    pool.ask([EASY])
    assert pool.supervisor is not None
    processes = [pool.supervisor.pid, *workers_of(pool)]
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.ask([SLOW])
    timer.join()
    assert not any(map(alive, processes))


@pytest.mark.slow
def test_the_script_of_the_parent_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from e2h_cli.grading import get_grader\n"
        "print('start', flush=True)\n"  # no `if __name__ == '__main__'`
        "with get_grader(workers=2) as grader:\n"
        f"    print(grader.grade([({EASY.gold!r}, {EASY.answer!r})])[0].verdict)\n"
    )
    for command in ([str(script)], ["-c", script.read_text()], ["-"]):
        done = subprocess.run(
            [sys.executable, *command],
            input=script.read_text() if command == ["-"] else None,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("start\nright\n", "")


def test_grades_in_a_thread() -> None:
    found: list[Verdict] = []

    def grade() -> None:
        with get_grader("e2h", workers=1) as grader:
            found.extend(grader.grade([("5", "5"), (EASY.gold, EASY.answer)]))

    thread = threading.Thread(target=grade)
    thread.start()
    thread.join(60)
    assert [verdict.right for verdict in found] == [True, True]


def test_threads_share_a_grader(e2h: RuleGrader) -> None:
    right: list[int] = []

    def grade(n: int) -> None:
        pairs = [(f"{n}", rf"\sqrt{{{n * n}}}"), (rf"\sum_{{k=1}}^{{{n}}} 1", f"{n}")]
        if all(verdict.right for verdict in e2h.grade(pairs)):
            right.append(n)

    threads = [threading.Thread(target=grade, args=(n,)) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(right) == list(range(2, 8))


@pytest.mark.slow
def test_a_forked_child_starts_its_own_workers(pool: WorkerPool) -> None:
    pool.ask([EASY])
    supervisor = pool.supervisor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads around
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if pool.ask([EASY])[0].right and pool.supervisor is not supervisor else 1
            pool.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.ask([EASY])[0].right
    assert pool.supervisor is supervisor


def test_the_library_is_never_trusted_with_code(tmp_path: Path) -> None:
    """Even when our parser is skipped, text is not run inside a worker."""
    target = tmp_path / "X"
    attacks = [
        f"__import__('os').system('touch {target}')",
        f"$__import__('os').system('touch {target}')$",
        rf"\text{{__import__('os').system('touch {target}')}}",
        f"open('{target}','w')",
        rf"\operatorname{{open}}('{target}','w')",
        f"\\sum_{{__import__('os').system('touch {target}')}}^{{5}} k",
        f"9 + __import__('os').system('touch {target}')",
    ]
    pool = WorkerPool(workers=1, timeout=2)
    pool.ask([Question("library", "5", text) for text in attacks])
    pool.ask([Question("library", text, "5") for text in attacks])
    pool.ask([Question("sympy", "5", text) for text in attacks])
    pool.close()
    assert not target.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "action",
    [
        "open('X', 'w')",
        "open('X', 'a')",
        "os.open('X', os.O_CREAT)",
        "os.mkdir('X')",
        "os.remove('script.py')",
        "os.system('touch X')",
        "subprocess.Popen(['touch', 'X'])",
        "os.fork()",
        "os.execv('/bin/touch', ['touch', 'X'])",
        "socket.socket()",
        "os.kill(os.getppid(), 15)",
        "exec('1')",
        "eval('1')",
        "bytearray(3 * 2**30)",
    ],
)
def test_the_sandbox(tmp_path: Path, action: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, socket, subprocess\n"
        "from e2h_cli.grading.grading_workers import lock_down\n"
        f"lock_down()\ntry:\n    {action}\n"
        "except (PermissionError, MemoryError):\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["script.py"]
