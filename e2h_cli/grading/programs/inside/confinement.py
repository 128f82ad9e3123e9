"""What a process gives up before it runs a program: limits, Landlock, capabilities, system calls.

Landlock and seccomp are kernel interfaces: ``landlock(7)``, ``seccomp(2)``. Nothing here can be
undone by the process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _SET_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
_FILTER_MODE = 2
# The version of the interface and "this process"; then no capability. Made once: what a child
# allocates costs more than the call.
_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_FIRST_RIGHTS = (1 << 13) - 1  # everything that the first version of Landlock handles
_LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # link elsewhere, truncate, ioctl of devices
_TCP = 0b11  # bind and connect
_SCOPES = 0b11  # abstract sockets and signals
STACK_BYTES = 128 * 1024**2  # the kernel keeps at least this much free below the stack


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _checked(value: int) -> int:
    if value < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return value


def _prctl(option: int, value: int, argument: int = 0) -> None:
    _checked(_libc.prctl(option, value, argument, 0, 0))


def end_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    _prctl(_SET_PDEATHSIG, signal)


def hide_memory() -> None:
    """Close ``/proc/PID/mem`` and the like of this process, and of its children, to others."""
    _prctl(_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends."""
    _prctl(_SET_SUBREAPER, 1)


def landlock_version() -> int:
    """The Landlock version (ABI) of the kernel; 0 where it has none or it is switched off."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def landlock_ruleset(readable: Sequence[str], writable: Sequence[str] = ()) -> int:
    """A descriptor of Landlock rules: reading of these paths is allowed, and nothing else.

    They cover files, and where the kernel can TCP, abstract sockets, and signals to other
    processes. Paths that do not exist are left out.
    """
    version = landlock_version()
    files = _FIRST_RIGHTS
    for since, right in _LATER_RIGHTS.items():
        files |= right if version >= since else 0
    attributes = _Ruleset(files, _TCP, _SCOPES)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset: int = _checked(
        _libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    )
    for paths, rights in ((readable, _READ_FILE), (writable, _READ_FILE | _WRITE_FILE)):
        for path in paths:
            try:
                parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            folder = stat.S_ISDIR(os.fstat(parent).st_mode)
            rule = _PathRule(rights | (_READ_DIR if folder else 0), parent)
            _checked(_libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0))
            os.close(parent)
    return ruleset


def enforce_landlock(ruleset: int) -> None:
    """Put the rules into force for this process and its later children."""
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))


def drop_capabilities() -> None:
    """Give up every privilege of root."""
    _checked(_libc.capset(*_CAPABILITIES))


class SystemCallFilter:
    """A seccomp filter: instructions of the kernel's packet filter, 8 bytes each."""

    def __init__(self, instructions: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        program = _FilterProgram(len(instructions) // 8, ctypes.addressof(self._instructions))
        self._program = program
        self._address = ctypes.addressof(program)

    def enforce(self) -> None:
        """Put the filter into force for this process."""
        _prctl(_SET_NO_NEW_PRIVS, 1)
        _prctl(_SET_SECCOMP, _FILTER_MODE, self._address)


def limit_resources(seconds: float, memory_bytes: int, open_files: int) -> None:
    """Set the limits that the kernel enforces.

    The exact CPU time is the host's to watch; here the kernel's whole seconds end a process that
    nobody watches any more.
    """
    whole = int(seconds) + 2
    _, most_stack = resource.getrlimit(resource.RLIMIT_STACK)
    stack = STACK_BYTES if most_stack == resource.RLIM_INFINITY else min(STACK_BYTES, most_stack)
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, whole, whole),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_STACK, stack, most_stack),  # a program may raise it, as is customary
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_NOFILE, open_files, open_files),
    ):
        resource.setrlimit(kind, (soft, hard))
