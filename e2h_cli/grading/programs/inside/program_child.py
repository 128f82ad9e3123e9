"""What the child of a test does once it is confined: compile, run a program, or call a function.

The functions here never return. They end the process: 0 is a success, everything else a failure
whose last line is on standard error.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import io
import json
import marshal
import site
import sys
import threading
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from os import _exit, write  # a program may replace those of the module os
from typing import Any, NoReturn

RESULT = 3  # the descriptor that takes compiled code and the result of a function
PROGRAM_FILE = "program.py"

# What the harness of LiveCodeBench puts in front of a program, then what that of APPS adds to it.
NAMES_OF_FUNCTIONS = """
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics
import itertools, functools, operator, io, sys, json
import fractions, time
"""
FUNCTION_RECURSION = 50_000  # levels; LiveCodeBench's


def function_names() -> dict[str, Any]:
    """The built-in names of a program with a function: Python's, and those of the harnesses.

    As built-in names they need not be copied into the module of every test.
    """
    names: dict[str, Any] = dict(vars(builtins))
    exec(NAMES_OF_FUNCTIONS, names)
    return names


def add_exit() -> None:
    """Define ``exit``, ``quit`` and ``help``, which Python leaves out without its site module."""
    site.setquit()
    site.sethelper()


def compile_program(source: bytes) -> NoReturn:
    """Write the compiled program as marshalled code."""
    try:
        code = marshal.dumps(compile(source, PROGRAM_FILE, "exec", dont_inherit=True))
    except BaseException:
        _fail()
    _write(RESULT, code)
    _exit(0)


def run_program(code: bytes) -> NoReturn:
    """Run a program as ``python program.py`` does, with its streams and its way to end."""
    output = _stream(1, "w")
    streams = {"stdin": _stream(0, "r"), "stdout": output, "stderr": _stream(2, "w")}
    vars(sys).update(streams, **{f"__{name}__": stream for name, stream in streams.items()})
    sys.argv = [PROGRAM_FILE]
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=PROGRAM_FILE, __builtins__=builtins)
    sys.modules["__main__"] = main
    gc.enable()
    status = 0
    try:
        exec(marshal.loads(code), main.__dict__)
    except SystemExit as end:
        status = _exit_status(end.code)
    except BaseException:
        status = 1
        with suppress(BaseException):
            sys.excepthook(*sys.exc_info())
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(BaseException):
        atexit._run_exitfuncs()
    status = _flush(sys.stdout) or _flush(output) or status
    with suppress(BaseException):  # files that are still open are written when they are deleted
        main.__dict__.clear()
        gc.collect()
    _flush(output)
    _exit(status)


def call_function(code: bytes, function: str, arguments: bytes, names: dict[str, Any]) -> NoReturn:
    """Run a program as a module, call its function, and write the result as JSON."""
    dumps = json.dumps
    sys.set_int_max_str_digits(0)
    values = json.loads(arguments)
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
    sys.setrecursionlimit(FUNCTION_RECURSION)
    module = types.ModuleType("solution")
    module.__dict__["__builtins__"] = names
    sys.modules["solution"] = module
    gc.enable()
    try:
        exec(marshal.loads(code), module.__dict__)
        result = _callable(module.__dict__, function)(*values)
        sys.set_int_max_str_digits(0)
        text = dumps(result)
    except BaseException:
        _fail()
    _write(RESULT, text.encode("ascii"))
    _exit(0)


def _callable(names: dict[str, Any], function: str) -> Callable[..., Any]:
    solution = names.get("Solution")
    if isinstance(solution, type) and hasattr(solution, function):
        found: Callable[..., Any] = getattr(solution(), function)
        return found
    if function not in names:
        raise NameError(f"the program has no function {function!r}")
    return names[function]


def _stream(descriptor: int, mode: str) -> io.TextIOWrapper:
    """A standard stream as Python makes it where it is no terminal, always in strict UTF-8."""
    buffer = open(descriptor, mode + "b", closefd=False)  # noqa: SIM115
    errors = "backslashreplace" if descriptor == 2 else "strict"
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=descriptor == 2)
    stream.mode = mode  # type: ignore[misc]
    return stream


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with suppress(BaseException):
        sys.stderr.write(f"{code}\n")
    return 1


def _flush(stream: Any) -> int:
    """Flush an output stream; returns Python's own exit status where that fails."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
        return 120
    return 0


def _fail() -> NoReturn:
    """End with the error that is being handled."""
    with suppress(BaseException):
        text = traceback.format_exc(limit=-3).encode("utf-8", "backslashreplace")
        _write(2, text[-4096:])
    _exit(1)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[write(descriptor, view) :]
