"""Programs that try to do harm, to look around, or to pass for right.

A program that gets through prints ``LEAK`` or shows on the outside; ``refused(act)`` prints
``LEAK`` unless an act fails. ``@NAME@`` stands for a name of ``conftest.Target``.
"""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = """
import os, sys, ctypes, time, signal, socket, struct, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def refused(*acts):
    for number, act in enumerate(acts):
        try:
            act()
        except BaseException:
            continue
        print("LEAK", number)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""

FAILED = ("error", "timed out", "too much memory", "too much output")


@dataclass(frozen=True)
class Hostile:
    """A program and the statuses that it may end with."""

    program: str
    statuses: tuple[str, ...] = ("finished", *FAILED)
    function: str | None = None
    prefix: bool = True

    @property
    def source(self) -> str:
        return _PREFIX + self.program if self.prefix else self.program


def _refused(*acts: str) -> Hostile:
    """Every act must fail, and the program goes on to its end."""
    listed = ",\n".join(f"lambda: {act}" for act in acts)
    return Hostile(f"refused({listed})\nprint('end')", ("finished",))


_PROCESSES = {
    "fork": _refused("os.fork()", "os.forkpty()"),
    "fork bomb": Hostile(
        "while True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)", FAILED
    ),
    "subprocess": Hostile(
        "import subprocess\nrefused(lambda: subprocess.run(['/bin/true']), "
        "lambda: subprocess.run('true', shell=True), "
        "lambda: subprocess.run(['/bin/true'], close_fds=False, preexec_fn=int))"
    ),
    "os.system": Hostile("print('LEAK' if os.system('touch @FOLDER@/made') == 0 else 'refused')"),
    "posix_spawn": _refused("os.posix_spawn('/bin/true', ['true'], {})"),
    "exec": _refused("os.execv('/bin/true', ['true'])", "os.execv(sys.executable, ['python'])"),
    "multiprocessing": Hostile(
        "import multiprocessing as m\nrefused(lambda: m.Process(target=print).start(), "
        "lambda: m.Pool(2), lambda: m.get_context('spawn').Process(target=print).start())"
    ),
    "clone by ctypes": _refused(
        "call(56 if os.uname().machine == 'x86_64' else 220, 17, 0, 0, 0, 0)",
        "call(435, ctypes.create_string_buffer(88), 88)",
    ),
    "vfork by ctypes": _refused("call(58, 0)"),
    "double fork daemon": Hostile(
        "try:\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            while True: time.sleep(1)\nexcept OSError: print('refused')"
    ),
    "setsid": _refused("os.setsid()", "os.setpgid(0, 0)"),
    "thread bomb": Hostile(
        "import threading\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    except RuntimeError: pass",
        FAILED,
    ),
    "thread bomb of small stacks": Hostile(
        "import threading\nthreading.stack_size(32768)\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    except RuntimeError: pass",
        FAILED,
    ),
    "daemon threads": Hostile(
        "import threading\ndef busy():\n    while True: pass\n"
        "for _ in range(8): threading.Thread(target=busy, daemon=True).start()",
    ),
    "threads outlive the main thread": Hostile(
        "import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()", ("timed out",)
    ),
    "atexit": Hostile("import atexit\natexit.register(time.sleep, 60)", ("timed out",)),
}

_FLOODS = {
    "bytes": Hostile("x = bytearray(10**10)", ("too much memory",)),
    "list": Hostile("x = []\nwhile True: x.append(bytearray(10**6))", ("too much memory",)),
    "mmap": _refused("mmap.mmap(-1, 2**32).write(b'x' * 2**31)"),
    "malloc by ctypes": Hostile(
        "libc.malloc.restype = ctypes.c_void_p\nlibc.malloc.argtypes = [ctypes.c_size_t]\n"
        "taken = 0\n"
        "while libc.malloc(10**7): taken += 10**7\nprint('LEAK' if taken > 3 * 10**8 else 'end')",
        ("finished", "error"),
    ),
    "shared memory": Hostile(
        "from multiprocessing import shared_memory\n"
        "refused(lambda: shared_memory.SharedMemory(create=True, size=10**6))"
    ),
    "System V shared memory": _refused(
        "call(29 if os.uname().machine == 'x86_64' else 194, 0, 1 << 20, 0o1600)"
    ),
    "memfd": _refused("os.memfd_create('x')"),
    "pipes": Hostile(
        "import fcntl\nends = []\n"
        "try:\n    while True:\n        ends.append(os.pipe())\n"
        "except OSError: print('LEAK' if len(ends) > 40 else 'end')\n"
        "refused(lambda: fcntl.fcntl(ends[0][1], 1031, 1 << 24))"
    ),
    "stdout": Hostile("while True: print('x' * 10**6)", ("too much output",)),
    "stdout in one piece": Hostile("os.write(1, b'x' * 10**8)", ("too much output",)),
    "stderr": Hostile("while True: os.write(2, b'x' * 10**6)", ("too much output",)),
    "many files": Hostile(
        "for number in range(10**5):\n"
        "    for folder in ('.', '/tmp', '/dev/shm', '@FOLDER@', '/var/tmp', '/run'):\n"
        "        try: open(f'{folder}/leak{number}', 'w'); print('LEAK', folder)\n"
        "        except OSError: pass",
    ),
    "sparse file": Hostile("refused(lambda: open('big', 'wb').truncate(2**40))"),
    "truncate": _refused("os.truncate('@GOLD@', 0)", "os.ftruncate(0, 2**40)", "os.truncate(0, 9)"),
    "change of the input": _refused("os.write(0, b'x')"),
    "regular expression": Hostile("import re\nre.match(r'(a+)+b', 'a' * 60)", ("timed out",)),
    "large power": Hostile("print(len(str((7 ** 10**8) ** 99)))", FAILED),
    "C call": Hostile("sum(range(10**12))", ("timed out",)),
    "sleep": Hostile("time.sleep(60)", ("timed out",)),
    "busy": Hostile("while True: pass", ("timed out",)),
    "busy threads": Hostile(
        "import threading, hashlib\ndef busy():\n"
        "    while True: hashlib.sha256(bytes(10**6)).digest()\n"
        "for _ in range(4): threading.Thread(target=busy).start()",
        ("timed out",),
    ),
    "ignored signals": Hostile(
        "for number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, "
        "range(1, 65))\nwhile True: pass",
        ("timed out",),
    ),
    "raised limits": Hostile(
        "import resource\nrefused(*[lambda k=k: resource.setrlimit(k, (-1, -1)) for k in "
        "(resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)])\nwhile True: pass",
        ("timed out",),
    ),
    "a kill by its own CPU limit": Hostile(
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (0, 0))\nwhile True: pass",
        ("error", "timed out"),
    ),
    "a kill by its own timer": _refused(
        "call(222 if os.uname().machine == 'x86_64' else 107, 1, "
        "ctypes.create_string_buffer(struct.pack('qii', 0, 9, 0), 64), ctypes.byref("
        "ctypes.c_int()))"
    ),
    "compile bomb": Hostile("x = " + "(" * 5000 + ")" * 5000, ("error",), prefix=False),
    "compile time": Hostile("x = " + "-" * 90_000 + "1", FAILED, prefix=False),
    "constant folding": Hostile("x = 'a' * 4000 * 4000 * 4000", FAILED, prefix=False),
    "recursion": Hostile(
        "sys.setrecursionlimit(10**9)\ndef f(x): return max([1], key=lambda _: f(x))\nf(1)", FAILED
    ),
    "segmentation fault": Hostile("ctypes.string_at(1)", ("error",)),
    "illegal instructions": Hostile(
        "page = mmap.mmap(-1, 4096, prot=7)\npage.write(bytes([15, 11] * 9))\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "ctypes.CFUNCTYPE(None)(address)()",
        ("error",),
    ),
    "abort": Hostile("os.abort()", ("error",)),
}

_SIGNALS = {
    "signals to the host": _refused(
        *[f"os.kill(os.getppid(), {number})" for number in (0, 9, 15, 19)]
    ),
    "signals to this process": _refused("os.kill(@PARENT@, 0)", "os.kill(@PARENT@, 9)"),
    "signals to all": _refused("os.kill(-1, 9)", "os.kill(0, 9)", "os.killpg(0, 9)"),
    "signals to every process": Hostile(
        "refused(*[lambda p=p, n=n: os.kill(p, n) for p in range(1, 400) "
        "for n in (0, 15) if p != os.getpid()])",
        ("finished",),
    ),
    "pidfd": _refused(
        "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
        "call(438, os.pidfd_open(os.getppid()), 0, 0)",
    ),
    "signals by a file's owner": Hostile(
        "import fcntl\nends = os.pipe()\nrefused(lambda: fcntl.fcntl(ends[0], 8, os.getppid()), "
        "lambda: fcntl.fcntl(ends[0], 10, 9), "
        "lambda: fcntl.ioctl(ends[0], 0x8901, struct.pack('i', os.getppid())))",
        ("finished",),
    ),
    "signals by queue": _refused(
        "call(129 if os.uname().machine == 'x86_64' else 138, os.getppid(), 9, "
        "ctypes.create_string_buffer(128))"
    ),
    "limits of the host": Hostile(
        "import resource\nrefused(lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, "
        "(1, 1)), lambda: resource.prlimit(@PARENT@, resource.RLIMIT_CPU, (1, 1)))",
        ("finished",),
    ),
    "priority of the host": _refused(
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "os.sched_setaffinity(os.getppid(), [0])",
    ),
    "death with the parent switched off": _refused("1 / (1 + libc.prctl(1, 0, 0, 0, 0))"),
}

_READING = {
    "home folder": _refused(
        "open('@HOME@/notes.txt').read()", "os.listdir('@HOME@')", "os.scandir('@HOME@')"
    ),
    "keys": _refused(
        "open('@HOME@/.ssh/id_ed25519').read()",
        "os.listdir(os.path.expanduser('~/.ssh'))",
        "os.listdir('/root')",
    ),
    "passwords": _refused("open('/etc/shadow')", "open('/etc/passwd')", "os.listdir('/etc')"),
    "expected outputs": _refused("open('@GOLD@').read()", "os.open('@GOLD@', os.O_RDONLY)"),
    "expected outputs through links": _refused(
        "open('/proc/self/root@GOLD@')",
        "open('/proc/self/cwd/../../../../../..@GOLD@')",
        "open('/proc/1/root@GOLD@')",
        "os.symlink('@GOLD@', 'link')",
        "os.link('@GOLD@', 'link')",
        "os.chdir('@FOLDER@/run') or open('expected.json')",
    ),
    "expected outputs through a folder descriptor": _refused(
        "os.open('expected.json', 0, dir_fd=os.open('@FOLDER@/run', os.O_PATH))",
        "open(f\"/proc/self/fd/{os.open('@GOLD@', os.O_PATH)}\").read()",
        "os.pread(os.open('@GOLD@', os.O_PATH), 9, 0)",
        "call(437, os.open('/', os.O_PATH), b'@GOLD@', ctypes.create_string_buffer(24), 24)",
    ),
    "the mount table's files": _refused(
        "open('/proc/self/mountinfo').read()", "os.listdir('/sys')", "os.listdir('/dev')"
    ),
    "environment": Hostile("print(dict(os.environ), os.environb)", ("finished",)),
    "environments of others": _refused(
        "open('/proc/1/environ', 'rb').read()",
        "open('/proc/self/environ', 'rb').read()",
        "open('/proc/@PARENT@/environ', 'rb').read()",
        "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    ),
    "environment in memory": Hostile(
        "libc.getenv.restype = ctypes.c_char_p\nprint(libc.getenv(b'E2H_TEST_SECRET'))",
        ("finished",),
    ),
    "memory of the host": _refused(
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "open('/proc/@PARENT@/mem', 'rb')",
        "open(f'/proc/{os.getppid()}/maps')",
        "open(f'/proc/{os.getppid()}/syscall')",
    ),
    "own memory by its file": _refused("open('/proc/self/mem', 'r+b')"),
    "process_vm_readv": _refused(
        "call(310 if os.uname().machine == 'x86_64' else 270, os.getppid(), 0, 0, 0, 0, 0)",
        "call(311 if os.uname().machine == 'x86_64' else 271, os.getppid(), 0, 0, 0, 0, 0)",
    ),
    "ptrace": _refused(
        "1 / (1 + libc.ptrace(16, os.getppid(), 0, 0))",
        "1 / (1 + libc.ptrace(0, 0, 0, 0))",
        "1 / (1 + libc.ptrace(0x4206, @PARENT@, 0, 0))",
    ),
    "descriptors of the host": _refused(
        "os.listdir(f'/proc/{os.getppid()}/fd')", "open(f'/proc/{os.getppid()}/fd/0')"
    ),
    "the package": Hostile(
        "for name in ('__init__.py', 'grading/verdict.py', 'common/errors.py'):\n"
        "    refused(lambda: open(f'@PACKAGE@/{name}').read())\nrefused(lambda: "
        "__import__('e2h_cli'))",
        ("finished",),
    ),
    "the process list": Hostile(
        "found = 0\nfor process in range(1, 5000):\n    try:\n"
        "        open(f'/proc/{process}/cmdline').read(); found += 1\n    except OSError: pass\n"
        "print('LEAK' if found else 'end')",
        ("finished",),
    ),
    "kernel files": _refused(
        "open('/proc/kallsyms')",
        "open('/dev/mem')",
        "open('/dev/kmsg')",
        "open('/boot')",
        "os.open('/dev/vda', 0)",
        "open('/proc/sys/kernel/core_pattern', 'w')",
    ),
}

_WRITING = {
    "outside": _refused(
        *[
            f"open({path!r}, 'w')"
            for path in (
                "@FOLDER@/made",
                "@GOLD@",
                "/tmp/leak",
                "/dev/shm/leak",
                "/var/tmp/leak",
                "leak",
                "@PACKAGE@/made.py",
                "/leak",
                "/usr/lib/leak",
                "/run/leak",
            )
        ],
        "open('@GOLD@', 'r+')",
        "open('@GOLD@', 'a')",
    ),
    "in Python's own folder": _refused(
        "open(os.__file__, 'a')",
        "os.utime(os.__file__)",
        "os.unlink(os.__file__)",
        "os.mkdir(os.path.dirname(os.__file__) + '/made')",
    ),
    "names": _refused(
        "os.mkdir('@FOLDER@/made')",
        "os.unlink('@GOLD@')",
        "os.rename('@GOLD@', '@GOLD@2')",
        "os.rmdir('@FOLDER@/run')",
        "os.mkfifo('@FOLDER@/made')",
        "os.mknod('made')",
        "os.symlink('/', 'made')",
        "os.link('@GOLD@', '@FOLDER@/made')",
        "os.mkdir('made')",
    ),
    "attributes": _refused(
        "os.chmod('@GOLD@', 0)",
        "os.utime('@GOLD@', (1, 1))",
        "os.chown('@GOLD@', 1, 1)",
        "os.setxattr('@GOLD@', 'user.x', b'1')",
        "os.fchmod(0, 0)",
        "os.chmod('.', 0o777)",
    ),
    "a file without a name": _refused(
        "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)",
        "os.open('.', os.O_TMPFILE | os.O_RDWR)",
        "__import__('tempfile').TemporaryFile()",
    ),
    "sqlite": _refused(
        "__import__('sqlite3').connect('@FOLDER@/made').execute('create table a(b)')"
    ),
}

_NETWORK = {
    "TCP": _refused(
        "socket.create_connection(('127.0.0.1', @TCP@), 1)", "socket.create_server(('', 0))"
    ),
    "UDP": _refused(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @UDP@))"
    ),
    "unix socket": _refused("socket.socket(socket.AF_UNIX).connect('@UNIX@')"),
    "abstract socket": _refused(
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind('\\0leak')",
    ),
    "a pair of datagram sockets": _refused(
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '/dev/log')"
    ),
    "passing of descriptors": Hostile(
        "a, b = socket.socketpair()\nrefused(lambda: socket.send_fds(a, [b'x'], [0]), "
        "lambda: a.sendto(b'x', '@UNIX@'))"
    ),
    "names of hosts": _refused("socket.gethostbyname('example.com')", "socket.getaddrinfo('a', 1)"),
    "netlink, packets": _refused(
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0)",
    ),
}

_KERNEL = {
    "chroot": _refused("os.chroot('/')", "os.chroot('.')"),
    "mount": _refused(
        "1 / (1 + libc.mount(b'x', b'/tmp', b'tmpfs', 0, 0))", "1 / (1 + libc.umount2(b'/', 2))"
    ),
    "pivot_root": _refused("call(155 if os.uname().machine == 'x86_64' else 41, b'.', b'.')"),
    "unshare": _refused(
        *[f"1 / (1 + libc.unshare({flag}))" for flag in (0x10000000, 0x20000, 0x20000000)],
        "1 / (1 + libc.setns(0, 0))",
    ),
    "a thread in a new namespace": _refused(
        "call(56 if os.uname().machine == 'x86_64' else 220, 0x10000000 | 17, 0, 0, 0, 0)"
    ),
    "bpf": _refused("call(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)"),
    "io_uring": _refused("call(425, 8, ctypes.create_string_buffer(120))"),
    "keys of the kernel": _refused(
        "call(248 if os.uname().machine == 'x86_64' else 217, b'user', b'a', b'b', 1, -3)",
        "call(250 if os.uname().machine == 'x86_64' else 219, 0, -3, 0)",
    ),
    "userfaultfd": _refused("call(323 if os.uname().machine == 'x86_64' else 282, 0)"),
    "perf_event_open": _refused(
        "call(298 if os.uname().machine == 'x86_64' else 241, "
        "ctypes.create_string_buffer(128), 0, -1, -1, 0)"
    ),
    "users": _refused("os.setuid(0)", "os.setgid(0)", "os.setresuid(1, 1, 1)", "os.setgroups([])"),
    "prctl": _refused(
        "1 / (1 + libc.prctl(4, 1, 0, 0, 0))",
        "1 / (1 + libc.prctl(36, 1, 0, 0, 0))",
        "1 / (1 + libc.prctl(22, 2, 0, 0, 0))",
        "1 / (1 + libc.prctl(38, 0, 0, 0, 0))",
    ),
    "system calls of 32 bits": Hostile(
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n"  # getpid by int 0x80
        "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(address)()\nprint('LEAK')",
        ("error",),
    ),
    "system calls of x32": Hostile(
        "refused(lambda: call(0x40000000 + 57), lambda: call(0x40000000 + 41, 1, 1, 0))",
        ("error", "finished"),
    ),
    "inotify, fanotify": _refused("call(294, 0)", "call(300, 0, 0)"),
    "clock and host name": _refused(
        "time.clock_settime(0, 1)", "socket.sethostname('x')", "1 / (1 + libc.reboot(0))"
    ),
    "a new Landlock or seccomp layer": _refused(
        "call(444, 0, 0, 1)", "call(317 if os.uname().machine == 'x86_64' else 277, 1, 0, 0)"
    ),
}

_FAKES = {
    "protocol on every descriptor": Hostile(
        'line = b\'{"status": "finished", "detail": "", "bytes": 2}\\n[]\'\n'
        "for descriptor in range(3, 1025):\n    try: os.write(descriptor, line); print('LEAK')\n"
        "    except OSError: pass",
        ("finished",),
    ),
    "reading of every descriptor": Hostile(
        "for descriptor in range(3, 1025):\n    try: os.read(descriptor, 9); print('LEAK')\n"
        "    except OSError: pass\n    try: os.fstat(descriptor); print('LEAK')\n"
        "    except OSError: pass",
        ("finished",),
    ),
    "the result pipe and an exit": Hostile(
        "os.write(3, b'{\"status\": \"finished\"}\\n')\nos._exit(0)\ndef f(): pass",
        ("error", "finished"), "f",
    ),
    "broken JSON in the result pipe": Hostile(
        "os.write(3, b'[' * 10**5)\nos._exit(0)\ndef f(): pass", ("error",), "f"
    ),
    "os._exit in a function": Hostile("def f(): os._exit(0)", ("error",), "f"),
    "sys.exit in a function": Hostile("def f(): sys.exit(0)", ("error",), "f"),
    "os._exit while loading": Hostile("os._exit(0)", ("error",), "f"),
    "exit status of an error": Hostile("print('x')\nsys.exit(3)", ("error",)),
    "replaced exits": Hostile(
        "os._exit = sys.exit = exit = lambda *a: None\nimport builtins\nbuiltins.SystemExit = int\n"
        "raise ValueError('x')",
        ("error",),
    ),
    "replaced exits in a function": Hostile(
        "os._exit = os.write = sys.exit = lambda *a: None\ndef f(): raise ValueError", ("error",),
        "f",
    ),
    "replaced built-ins": Hostile(
        "import builtins, json\nbuiltins.print = builtins.exec = builtins.open = None\n"
        "json.dumps = json.loads = lambda *a, **k: '\"finished\"'\ndef f(): return object()",
        FAILED, "f",
    ),
    "an object that equals everything": Hostile(
        "class A:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\n"
        "def f(): return A()",
        ("error",), "f",
    ),
    "a text that equals everything": Hostile(
        "class A(str):\n    def __eq__(self, other): return True\n    __hash__ = None\n"
        "def f(): return A('wrong')",
        ("finished",), "f",
    ),
    "a list that equals everything": Hostile(
        "class A(list):\n    def __eq__(self, other): return True\n"
        "class B(int):\n    def __eq__(self, other): return True\n"
        "    def __repr__(self): return '7'\ndef f(): return A([B(3)])",
        ("finished",), "f",
    ),
    "a trace function": Hostile(
        "def trace(frame, event, argument):\n    frame.f_trace_opcodes = True\n    return trace\n"
        "sys.settrace(trace)\nframe = sys._getframe()\n"
        "while frame:\n    frame.f_trace = trace\n    frame = frame.f_back\n"
        "def f(): raise ValueError",
        ("error",), "f",
    ),
    "objects of the host": Hostile(
        "import gc\nfor o in gc.get_objects() + [v for m in list(sys.modules.values()) "
        "for v in vars(m).values()]:\n    print(repr(o)[:50])\n"
        "frame = sys._getframe()\nwhile frame:\n    print(sorted(frame.f_locals))\n"
        "    frame = frame.f_back",
    ),
    "functions of the host": Hostile(
        "frame = sys._getframe()\nfound = []\nwhile frame:\n"
        "    found.append(frame); frame = frame.f_back\n"
        "for frame in found:\n    for name, value in list(frame.f_globals.items()):\n"
        "        if callable(value) and name in ('_send', '_receive', 'main', 'end_everything'):\n"
        "            try: value(*[1] * value.__code__.co_argcount)\n"
        "            except BaseException: pass",
    ),
    "another __main__": Hostile(
        "import types\nsys.modules['__main__'] = types.ModuleType('__main__')\n"
        "sys.modules.clear()\nraise ValueError('x')",
        ("error",),
    ),
    "closed output": Hostile("print('x')\nsys.stdout.close()\nos.close(1)\nos.close(2)"),
    "closed output and sleep": Hostile(
        "os.close(1); os.close(2)\ntime.sleep(60)", ("timed out",)
    ),
    "a message like a verdict": Hostile(
        'raise Exception(\'{"status": "finished", "detail": "", "bytes": 0}\\nfinished\')',
        ("error",),
    ),
    "a message like another limit's": Hostile(
        "print('right', file=sys.stderr)\nraise SystemExit('MemoryError')", FAILED
    ),
    "an error with a hostile text": Hostile(
        "class E(Exception):\n    def __str__(self): os._exit(0)\ndef f(): raise E()",
        ("error",), "f",
    ),
    "a deeply nested result": Hostile(
        "def f():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x", ("error",), "f"
    ),
    "a result that holds itself": Hostile(
        "def f():\n    x = []\n    x.append(x)\n    return x", ("error",), "f"
    ),
    "a result of 100 MB": Hostile("def f(): return 'x' * 10**8", FAILED, "f"),
    "a result that is not a number": Hostile("def f(): return float('nan')", ("finished",), "f"),
    "lone surrogates in a result": Hostile("def f(): return '\\ud800\\0'", ("finished",), "f"),
    "lone surrogates in the output": Hostile("print('\\ud800')", ("error",)),
    "NUL and broken bytes": Hostile(
        "os.write(1, bytes(range(256)) * 100)", ("finished",)
    ),
    "NUL in the program": Hostile("print('x')\0", ("error",), prefix=False),
    "an error in a weak reference": Hostile(
        "import gc\nclass A:\n    def __del__(self):\n        while True: pass\nx = A()\nx.x = x",
        ("timed out",),
    ),
}  # fmt: skip

GROUPS = {
    "processes": _PROCESSES, "floods": _FLOODS, "signals": _SIGNALS, "reading": _READING,
    "writing": _WRITING, "network": _NETWORK, "kernel": _KERNEL, "fakes": _FAKES,
}  # fmt: skip
HOSTILE = {
    f"{group}: {name}": hostile
    for group, found in GROUPS.items()
    for name, hostile in found.items()
}
