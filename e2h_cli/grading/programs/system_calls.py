"""The system calls that a program may use, as a seccomp filter made by libseccomp.

Everything that is not listed is refused with "not permitted": new system calls of later kernels,
too. The reasons for the conditions:

* ``clone`` makes threads alone, no processes. ``clone3`` cannot be looked into: libraries that are
  told that it does not exist use ``clone``.
* ``socketpair`` connects a program with itself, which asyncio needs. Datagram sockets could send
  to others, and ``sendmsg`` could pass descriptors.
* ``fcntl`` and ``ioctl`` can have signals sent to other processes, or make pipes large.
* ``prlimit64`` can change other processes. A program that lowers its own CPU time would be killed
  as if by the sandbox; the stack is what programs raise.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from functools import cache

_ALLOWED = """
access brk chdir clock_getres clock_gettime clock_nanosleep close close_range dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group faccessat
faccessat2 fchdir fstat fstatfs futex futex_waitv getcpu getcwd getdents64 getegid geteuid getgid
getgroups getitimer getpeername getpgid getpgrp getpid getppid getrandom getresgid getresuid
getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid lseek lstat madvise
membarrier mmap mprotect mremap munmap nanosleep newfstatat open openat pause pipe pipe2 poll
ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readlink readlinkat readv
recvfrom restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn
rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_yield select sendto set_robust_list
set_tid_address setitimer alarm shutdown sigaltstack stat statfs statx sysinfo time times uname
wait4 waitid write writev
""".split()  # noqa: SIM905

_NAMESPACES = 0x7E02_0080  # CLONE_NEW*
_THREAD = 0x0001_0000  # CLONE_THREAD
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032, 1034)  # copies, flags, locks, sizes, seals
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # terminal? size, unread, flags
_STACK = 3  # RLIMIT_STACK
_UNIX, _STREAM, _SOCKET_TYPE = 1, 1, 0xF


@cache
def system_call_filter() -> bytes:
    """The filter for the machine's architecture, as instructions of 8 bytes.

    Raises:
        RuntimeError: if libseccomp is not installed.
        OSError: if it cannot make the filter.
    """
    import pyseccomp as seccomp  # looks for libseccomp

    def allow(name: str, *conditions: seccomp.Arg) -> None:
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) != -1:  # known to this libseccomp
            rules.add_rule(seccomp.ALLOW, name, *conditions)

    def equal(argument: int, value: int) -> seccomp.Arg:
        return seccomp.Arg(argument, seccomp.EQ, value)

    def masked(argument: int, mask: int, value: int) -> seccomp.Arg:
        return seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value)

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    rules.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    with suppress(OSError):  # a tree of comparisons, since version 2.5: quick to put into force
        rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    for name in _ALLOWED:
        allow(name)
    allow("clone", masked(0, _NAMESPACES | _THREAD, _THREAD))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    allow("socketpair", equal(0, _UNIX), masked(1, _SOCKET_TYPE, _STREAM))
    for command in _FCNTL:
        allow("fcntl", equal(1, command))
    for request in _IOCTL:
        allow("ioctl", equal(1, request))
    allow("prlimit64", equal(0, 0), equal(2, 0))
    allow("prlimit64", equal(0, 0), equal(1, _STACK))
    allow("setrlimit", equal(0, _STACK))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
