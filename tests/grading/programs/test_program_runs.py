"""What programs and functions may do and what comes out: as ``python program.py`` would."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult, is_json
from e2h_cli.grading.programs.program_runner import ProgramRunner
from tests.grading.programs.conftest import LIMITS, open_runner, run_one

# Programs whose output and success are those of a plain Python process on the same input.
LIKE_PYTHON = {
    "input": "a = input(); b = int(input())\nprint(a[::-1], b + 1)",
    "stdin": "import sys\nprint([line for line in sys.stdin])",
    "binary stdin": "import sys\nprint(sys.stdin.buffer.readline(), sys.stdin.buffer.read())",
    "read by descriptor": "import os\nprint(os.read(0, os.fstat(0).st_size))",
    "open(0)": "print(open(0).read().split())",
    "/dev/stdin": "print(open('/dev/stdin').read())",
    "end of input": "while True: input()",
    "name": "import sys\nprint(__name__, sys.argv[1:], __builtins__.__name__, __doc__)",
    "main": "def main():\n    print(input())\nif __name__ == '__main__':\n    main()",
    "import of itself": "x = 5\nimport __main__\nprint(__main__.x)",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)",
    "sys.exit": "import sys\nprint(1)\nsys.exit()",
    "exit": "print(1)\nexit()",
    "quit with a status": "print(1)\nquit(0)",
    "exit with a status": "print(1)\nexit(2)",
    "exit with a text": "import sys\nsys.exit('wrong')",
    "exit with False": "import sys\nsys.exit(False)",
    "exit with 256": "import sys\nsys.exit(256)",
    "os._exit": "import os\nprint(1, flush=True)\nprint(2)\nos._exit(0)",
    "error": "print(1)\nraise ValueError('x')",
    "error in a thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()",
    "own excepthook": "import sys\nsys.excepthook = lambda *a: print('hook')\n1 / 0",
    "atexit": "import atexit\natexit.register(print, 'last')\nprint('first')",
    "thread": "import threading, time\n"
    "def f():\n    time.sleep(0.1)\n    print('thread')\nthreading.Thread(target=f).start()",
    "open file": "f = open(1, 'w')\nf.write('not closed')",
    "closed stdout": "import sys\nprint(1)\nsys.stdout.close()",
    "replaced stdout": "import io, sys\nsys.stdout = io.StringIO()\nprint(1)",
    "own writer": "import os, sys, io, atexit\nout = io.BytesIO()\n"
    "sys.stdout = io.TextIOWrapper(out, write_through=True)\n"
    "atexit.register(lambda: os.write(1, out.getvalue()))\nprint('x', end='\\r\\n')",
    "deletion at the end": "class A:\n    def __del__(self): print('deleted')\na = A()\nb = [a]",
    "printing to a stream": "import sys\nsys.stdout.write('a\\n')\nprint('b', file=sys.stderr)",
    "bytes": "import sys\nsys.stdout.buffer.write(b'a\\r\\n')",
    "unicode": "print('äß日😀')",
    "surrogates": "print('\\ud800')",
    "signals": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print('alarm'))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.05)\nsignal.pause()",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 7\n"
    "print(asyncio.run(f()))",
    "recursion limit": "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(900))\nf(1000)",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**6)\n"
    "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(50_000))",
    "deep recursion in a thread": "import sys, threading\nsys.setrecursionlimit(10**6)\n"
    "threading.stack_size(2**26)\ndef f(n): return 0 if n == 0 else 1 + max(map(f, [n - 1]))\n"
    "t = threading.Thread(target=lambda: print(f(20_000)))\nt.start()\nt.join()",
    "large stack": "import resource\n"
    "resource.setrlimit(resource.RLIMIT_STACK, (2**26, resource.RLIM_INFINITY))\nprint(1)",
    "large integers": "print(7 ** 5000 % 10**50)\nprint(len(str(10**4299)))\nprint(10**5000)",
    "missing file": "import os\nprint(os.path.exists('input.txt'))\n"
    "try: open('input.txt')\nexcept FileNotFoundError: print('none')",
    "null device": "import os, sys\nsys.stdout = open(os.devnull, 'w')\nprint(1)\n"
    "print(open(os.devnull).read())\nsys.stdout = sys.__stdout__\nprint(2)",
    "byte order mark": "\ufeffprint(1)",
    "syntax error": "print(1)\nprint(",
    "tabs and spaces": "if 1:\n\tx = 1\n        y = 2",
    "text over lines": "x = '''a\n\tb\n'''\nprint(repr(x))",
    "future": "from __future__ import annotations\n"
    "def f(x: Missing): pass\nprint(f.__annotations__)",
    "modules": "import bz2, csv, ctypes, decimal, fractions, gzip, hashlib, ipaddress, lzma\n"
    "import sqlite3, statistics, textwrap, unicodedata, uuid, xml.etree.ElementTree, zlib\n"
    "print(decimal.Decimal(1) / 7, unicodedata.name('a'), hashlib.sha256(b'').hexdigest())",
    "order of a set": "print(list({'a', 'b', 'c', 'd', 'e', 'f'}), hash('a'))",
    "time zone": "import time\nprint(time.strftime('%H', time.localtime(0)))",
}
INPUT = "ab\r\n41\nlast"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.mark.parametrize("name", LIKE_PYTHON)
def test_a_program_runs_as_in_a_python_of_its_own(
    any_runner: ProgramRunner, plain: Path, name: str
) -> None:
    file, data = plain / "program.py", plain / "data"
    file.write_text(LIKE_PYTHON[name], encoding="utf-8")
    data.write_bytes(INPUT.encode())
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    environment["PYTHONIOENCODING"] = "utf-8:strict"
    with data.open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, file], stdin=stdin, capture_output=True, env=environment, check=False
        )
    (result,) = run_one(any_runner, LIKE_PYTHON[name], INPUT)
    if done.returncode:
        assert result.status == "error"
        last = done.stderr.decode().strip().split("\n")[-1].strip()
        assert result.detail == (last or f"exit status {done.returncode}")
    else:
        assert result == RunResult("finished", done.stdout.decode())


def test_tests_do_not_see_each_other(any_runner: ProgramRunner) -> None:
    program = (
        "import json, os, math\nprint(getattr(math, 'seen', 'fresh'), os.environ.get('SEEN'))\n"
        "math.seen = json.dumps = 5\nos.environ['SEEN'] = '1'\nos.umask(0)\nos.chdir('/')"
    )
    program = program.replace("\nos.umask(0)", "")
    assert {r.output for r in run_one(any_runner, program, *"abc")} == {"fresh None\n"}
    counter = "seen = []\ndef f(x):\n    seen.append(x)\n    return seen"
    results = run_one(any_runner, counter, "[1]", "[2]", function="f")
    assert [result.output for result in results] == ["[1]", "[2]"]


def test_random_numbers_differ_between_tests(any_runner: ProgramRunner) -> None:
    results = run_one(any_runner, "import random\nprint(random.random())", "", "")
    assert results[0] != results[1]


def test_the_environment_is_clean(any_runner: ProgramRunner) -> None:
    (result,) = run_one(any_runner, "import os, json\nprint(json.dumps(dict(os.environ)))")
    allowed = {"LANG", "LC_ALL", "PATH", "PYTHONHASHSEED", "PWD", "LD_LIBRARY_PATH"}
    assert set(json.loads(result.output)) <= allowed


def test_only_the_standard_library_is_there(any_runner: ProgramRunner) -> None:
    (result,) = run_one(any_runner, "import numpy")
    assert result == RunResult("error", "", "ModuleNotFoundError: No module named 'numpy'")


CALLS = {
    "a function": ("def f(a, b): return a + b", "[1, 2]", "3"),
    "a method": ("class Solution:\n    def f(self, a: List[int]): return a[::-1]", "[[1]]", "[1]"),
    "a static method": ("class Solution:\n    @staticmethod\n    def f(a): return a", "[1]", "1"),
    "a method comes first": (
        "def f(a): return 0\nclass Solution:\n    f = lambda s, a: 1", "[1]", "1",
    ),
    "a class without it": ("class Solution: pass\ndef f(): return 5", "[]", "5"),
    "a tuple": ("def f(): return (1, (2, 3))", "[]", "[1, [2, 3]]"),
    "keys": ("def f(): return {1: None, 'a': True}", "[]", '{"1": null, "a": true}'),
    "infinity": ("def f(a): return [a, -a]", "[Infinity]", "[Infinity, -Infinity]"),
    "text": ("def f(a): return a * 2", '["ä\\ud800"]', '"\\u00e4\\ud800\\u00e4\\ud800"'),
    "no result": ("def f(): pass", "[]", "null"),
    "prints": ("print('a')\ndef f():\n    print('b')\n    return 1", "[]", "1"),
    "name": ("def f(): return __name__", "[]", '"solution"'),
    "no main part": ("def f(): return 1\nif __name__ == '__main__': input()", "[]", "1"),
    "no standard input": ("import sys\ndef f(): return sys.stdin.read()", "[]", '""'),
    "names of the harnesses": (
        "def f(a: Optional[Dict[str, int]]): return [gcd(4, 6), Counter('aab')['a'], "
        "list(accumulate([1, 2])), bisect_left([1, 3], 2), heappop([3]), math.pi > 3, "
        "sys.maxsize > 0, cache(len)('ab'), pow(2, 5, 7), reduce(add, [1, 2]), inf > 1, "
        "itertools.count is count, ascii_lowercase[0], collections.deque([1])[0]]",
        "[null]", "[2, 2, [1, 3], 1, 3, true, true, 2, 4, 3, true, true, \"a\", 1]",
    ),
    "a data class": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "def f(): return P(3).x", "[]", "3",
    ),
    "deep recursion": ("def f(n): return 0 if n < 1 else 1 + f(n - 1)", "[20000]", "20000"),
    "subclasses": (
        "class A(int): pass\nclass B(list): pass\ndef f(): return B([A(3)])", "[]", "[3]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call(any_runner: ProgramRunner, name: str) -> None:
    program, arguments, expected = CALLS[name]
    assert run_one(any_runner, program, arguments, function="f") == (
        RunResult("finished", expected),
    )


FAILED_CALLS = {
    "a set": ("def f(): return {1}", "TypeError: Object of type set is not JSON serial"),
    "a generator": ("def f(): yield 1", "TypeError: Object of type generator is not"),
    "an object": ("class A: pass\ndef f(): return [A()]", "TypeError: Object of type A is not"),
    "an error": ("def f(): raise KeyError('x')", "KeyError: 'x'"),
    "an exit": ("import sys\ndef f(): sys.exit(0)", "SystemExit: 0"),
    "a hard exit": ("import os\ndef f(): os._exit(0)", "it ended without a result"),
    "no function": ("def g(): pass", "NameError: the program has no function 'f'"),
    "no callable": ("f = 5", "TypeError: 'int' object is not callable"),
    "arguments": ("def f(a): pass", "TypeError: f() missing 1 required positional argument: 'a'"),
    "syntax": ("def f(:", "SyntaxError: invalid syntax"),
    "an error while loading": ("1 / 0\ndef f(): pass", "ZeroDivisionError: division by zero"),
    "a circle": ("def f():\n    x = []\n    x.append(x)\n    return x", "ValueError: Circular"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILED_CALLS)
def test_a_failed_call(any_runner: ProgramRunner, name: str) -> None:
    program, detail = FAILED_CALLS[name]
    (result,) = run_one(any_runner, program, "[]", function="f")
    assert (result.status, result.output) == ("error", "")
    assert result.detail.startswith(detail)


def test_long_integers_and_nan(any_runner: ProgramRunner) -> None:
    (power, digits) = run_one(
        any_runner, "def f(a): return a * 10", f"[{'9' * 9000}]", "[1]", function="f"
    )
    assert power.output == "9" * 9000 + "0" and digits.output == "10"
    (nan,) = run_one(any_runner, "def f(): return float('nan')", "[]", function="f")
    assert math.isnan(json.loads(nan.output))


def test_a_syntax_error_is_an_error_on_every_input(any_runner: ProgramRunner) -> None:
    results = run_one(any_runner, "x = (1", "a", "b")
    assert results == (RunResult("error", "", "SyntaxError: '(' was never closed"),) * 2


def test_the_output_is_limited_per_test_and_per_program(any_runner: ProgramRunner) -> None:
    program = "print('x' * int(input()), end='')"
    full, more, tail = run_one(any_runner, program, str(2**20), str(2**20 + 1), "5")
    assert full == RunResult("finished", "x" * 2**20)
    assert more == RunResult("too much output", "", "more than 1,048,576 bytes")
    assert tail == RunResult("finished", "xxxxx")
    name = any_runner.sandbox.split()[0]
    limits = Limits(output_bytes=1000)
    with open_runner(name.rstrip(","), limits) as runner:  # type: ignore[arg-type]
        results = run_one(runner, program, *["1000"] * 70)
    assert [result.status for result in results] == ["finished"] * 65 + ["too much output"] * 5


def test_errors_on_standard_error_are_counted_apart(any_runner: ProgramRunner) -> None:
    (result,) = run_one(any_runner, "import sys\nprint('x' * 10**6, file=sys.stderr)\nprint(1)")
    assert result == RunResult("finished", "1\n")
    (result,) = run_one(any_runner, "import sys\nprint('x' * 5000, file=sys.stderr)\nsys.exit(1)")
    assert (result.status, result.detail) == ("error", "x" * 200)


def test_tests_left_when_the_time_is_over_are_timed_out() -> None:
    limits = Limits(seconds=0.5, wall_factor=8, program_seconds=1)
    with open_runner("landlock", limits) as runner:
        results = run_one(runner, "while True: pass", *"abcde")
    assert [result.status for result in results] == ["timed out"] * 5
    assert results[-1].detail == "all tests of the program together"
    assert results[0].detail == "longer than 0.5 s"


def test_broken_bytes_are_replaced(any_runner: ProgramRunner) -> None:
    (result,) = run_one(any_runner, "import os\nos.write(1, b'a\\xff\\0b')")
    assert result == RunResult("finished", "a\ufffd\0b")


def test_memory(any_runner: ProgramRunner) -> None:
    statuses = [r.status for r in run_one(any_runner, "bytearray(int(input()))", "9" * 12, "9")]
    assert statuses == ["too much memory", "finished"]
    (result,) = run_one(any_runner, f"x = bytearray({LIMITS.memory_bytes * 3 // 4})")
    assert result.status == "finished"


def test_inputs_that_are_no_arguments_are_not_judged(any_runner: ProgramRunner) -> None:
    for text in ("", "{}", "[1", "1"):
        (result,) = run_one(any_runner, "def f(*a): return 1", text, function="f")
        assert (result.status, result.output) == ("not judged", "")


def test_many_jobs_on_two_workers() -> None:
    jobs = [ProgramJob(f"print(int(input()) * {n})", None, ("1", "2")) for n in range(40)]
    jobs[3] = ProgramJob("import time\ntime.sleep(1.5)", None, ("",))
    jobs[7] = ProgramJob("", None, ())
    jobs[9] = ProgramJob("print(len(input()))", None, ("x" * 3_000_000,))  # more than a pipe holds
    with open_runner("landlock", workers=2) as runner:
        order = list(runner.run(jobs))
    found = dict(order)
    assert sorted(found) == list(range(40)) and len(order) == 40
    assert [index for index, _ in order].index(3) > 3  # in order of completion
    assert found[7] == () and found[9] == (RunResult("finished", "3000000\n"),)
    assert all(
        [r.output for r in found[n]] == [f"{n}\n", f"{2 * n}\n"]
        for n in range(40) if n not in (3, 7, 9)
    )  # fmt: skip


def test_is_json() -> None:
    assert is_json("[1]", list) and is_json("9" * 10_000) and is_json("NaN")
    assert not is_json("{}", list) and not is_json("[") and not is_json("[" * 10**5)
