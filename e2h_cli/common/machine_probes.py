"""Looks at this machine for ``e2h doctor``. Imports no torch, and takes no longer than seconds."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import e2h_cli
from e2h_cli.common.machine_checks import Packages
from e2h_cli.common.machine_facts import Gpu, GpuFacts, HubFacts

# No call to another machine or driver takes longer, and no counting of files.
_SECONDS = 3.0
_COUNTING_SECONDS = 1.0
_CGROUP = Path("/sys/fs/cgroup")


def installed_packages() -> Packages:
    """Packages of this Python, by their metadata."""
    return Packages(_needed(), version_of, _requires, _pip())


def _needed() -> list[str]:
    """What e2h asks for. Metadata of a checkout are those of the day that it was installed on."""
    file = Path(e2h_cli.__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(_text(file)).get("project", {})
    if project.get("name") != "e2h":
        return _requires("e2h")
    extras = project["optional-dependencies"].items()
    optional = [f"{one}; extra == '{extra}'" for extra, some in extras for one in some]
    return [*project["dependencies"], *optional]


def _pip() -> str:
    """The command that changes the packages of this Python, without its verb."""
    here = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip {{}} --python {here}"
    first = shutil.which("pip")
    own = first is not None and Path(first).parent == Path(sys.executable).parent
    return "pip {}" if own else f"{here} -m pip {{}}"


def version_of(package: str) -> str | None:
    """Version of an installed package; None if it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def python_needed() -> str:
    """Versions of Python that e2h takes, as its metadata says."""
    try:
        return importlib.metadata.metadata("e2h")["Requires-Python"] or ">=3.11"
    except importlib.metadata.PackageNotFoundError:
        return ">=3.11"


def _requires(package: str) -> list[str]:
    try:
        return importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def usable_cores() -> tuple[float, int]:
    """Cores that this process may use, by affinity and container; and those of the machine."""
    present = os.cpu_count() or 1
    usable = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else present
    quota, _, period = _line(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        usable = min(usable, int(quota) / int(period))
    return round(usable, 1), present


def memory() -> tuple[int, int]:
    """Bytes that a process may still take, and all; of the container where it has less."""
    rows = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(Path("/proc/meminfo")), re.MULTILINE))
    if not rows:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total
    total, free = (1024 * int(rows[key]) for key in ("MemTotal", "MemAvailable"))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, taken = _line(_CGROUP / limit), _line(_CGROUP / used)
        if most.isdecimal() and taken.isdecimal() and int(most) < total:
            total = int(most)
            free = min(free, total - int(taken))
    return free, total


def gpu_facts() -> GpuFacts:
    """GPUs of NVIDIA, and the build of torch, which is read from its file without an import."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        lines = done.stdout.splitlines() if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired):
        lines = []
    rows = [[part.strip() for part in line.split(",")] for line in lines]
    gpus = tuple(
        Gpu(name, int(size) * 2**20 if size.isdecimal() else 0, driver)
        for name, size, driver in (row for row in rows if len(row) == 3)
    )
    return GpuFacts(
        gpus=gpus,
        device_files=any(Path("/dev").glob("nvidia[0-9]*")),
        driver_cuda=_driver_cuda() if gpus else None,
        torch_version=version_of("torch"),
        torch_cuda=_torch_cuda(),
    )


def _driver_cuda() -> int | None:
    found = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(found))
    except OSError:
        return None
    return found.value or None


def _torch_cuda() -> str:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    text = _text(Path(spec.origin).with_name("version.py"))
    found = re.search(r"^cuda\b.*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else ""


def hub_facts(environment: Mapping[str, str]) -> HubFacts:
    """Access to the Hub, by the variables that huggingface_hub reads."""
    offline = environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    endpoint = environment.get("HF_ENDPOINT") or "https://huggingface.co"
    caches = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(environment.get("HF_HOME") or caches / "huggingface").expanduser()
    cache = Path(environment.get("HF_HUB_CACHE") or home / "hub").expanduser()
    tokens = Path(environment.get("HF_TOKEN_PATH") or home / "token").expanduser()
    asked = None if offline else _Question(endpoint)
    size, is_least = _counted(cache)
    return HubFacts(
        offline=offline,
        endpoint=endpoint,
        unreachable=asked.answer() if asked else "",
        token=bool(environment.get("HF_TOKEN") or _line(tokens)),
        cache=cache,
        cache_size=size,
        cache_size_is_least=is_least,
        cache_not_writable=_why_not_writable(cache),
    )


class _Question:
    """Asks a server for its headers while other things are looked at."""

    def __init__(self, url: str) -> None:
        self._why, self._url, self._until = "no answer", url, time.monotonic() + _SECONDS
        # The resolver of names knows no time limit; a daemon does not keep the program.
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def answer(self) -> str:
        """Why it did not answer in time; empty if it did."""
        self._thread.join(max(self._until - time.monotonic(), 0.0))
        return self._why

    def _ask(self) -> None:
        try:
            request = urllib.request.Request(self._url, method="HEAD")
            with urllib.request.urlopen(request, timeout=_SECONDS):
                self._why = ""
        except urllib.error.HTTPError:  # it has answered
            self._why = ""
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            self._why = getattr(reason, "strerror", None) or str(reason) or type(error).__name__


def _counted(folder: Path) -> tuple[int, bool]:
    """Bytes of the files in a folder that time allows to count, and whether there are more."""
    until, size = time.monotonic() + _COUNTING_SECONDS, 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
        if time.monotonic() > until:
            return size, True
    return size, False


def _why_not_writable(folder: Path) -> str:
    """Why a folder, or the nearest one above it that is there, takes no file."""
    near = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if not near.is_dir():
        return f"{near} is no folder"
    return "" if os.access(near, os.W_OK | os.X_OK) else f"{near} is not writable"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(file: Path) -> str:
    return _text(file).strip()
