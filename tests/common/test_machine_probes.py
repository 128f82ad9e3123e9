"""The probes on this machine, and with the files and programs of another."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from e2h_cli.common import machine_probes


def test_memory_and_cores_of_this_machine() -> None:
    free, total = machine_probes.memory()
    assert 0 < free < total
    usable, present = machine_probes.usable_cores()
    assert 0 < usable <= present


def test_the_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_probes, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine_probes.usable_cores()[0] == 0.5
    assert machine_probes.memory() == (600_000, 1_000_000)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_probes.usable_cores()[0] >= 1
    assert machine_probes.memory()[1] > 1_000_000


def test_gpus_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 580.65'\necho 'NVIDIA H200, 1, 2'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, _ = machine_probes.gpu_facts().gpus
    assert (first.name, first.memory, first.driver) == ("NVIDIA H200", 143771 * 2**20, "580.65")
    program.write_text("#!/bin/sh\necho 'no devices were found'; exit 9\n")
    assert machine_probes.gpu_facts().gpus == ()


def test_the_build_of_torch_is_that_of_its_import() -> None:
    import torch

    facts = machine_probes.gpu_facts()
    assert facts.torch_version == torch.__version__
    assert facts.torch_cuda == (torch.version.cuda or "")


def test_the_hub_answers(tmp_path: Path) -> None:
    class Denies(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "blob").write_bytes(b"x" * 5000)
    (tmp_path / "token").write_text("hf_secret\n")
    with http.server.HTTPServer(("127.0.0.1", 0), Denies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        facts = machine_probes.hub_facts({"HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint})
        server.shutdown()
    assert (facts.offline, facts.unreachable, facts.token) == (False, "", True)
    assert (facts.cache_size, facts.cache_not_writable) == (5000, "")


def test_a_hub_that_says_nothing_costs_three_seconds_at_most(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        facts = machine_probes.hub_facts({"HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint})
        assert time.monotonic() - started < 4
    assert facts.unreachable
    assert not facts.token


def test_offline_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(machine_probes, "_Question", refuse)
    cache = tmp_path / "file"
    cache.write_text("")
    facts = machine_probes.hub_facts({"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)})
    assert facts.offline
    assert "is no folder" in facts.cache_not_writable


def test_a_checkout_is_believed_before_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_probes, "_requires", lambda _: ["torch<2; extra == 'vllm'"])
    needed = machine_probes.installed_packages().requirements
    assert "torch>=2.13,<2.14" in needed
    assert "vllm==0.31.0; extra == 'vllm'" in needed
    monkeypatch.setattr("e2h_cli.__file__", "/elsewhere/e2h_cli/__init__.py")
    assert machine_probes.installed_packages().requirements == ["torch<2; extra == 'vllm'"]


def test_the_command_that_changes_the_packages_of_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_probes.sys, "executable", str(tmp_path / "a b/python"))
    monkeypatch.setattr(machine_probes, "find_spec", lambda _: None)
    assert machine_probes.installed_packages().installing("numpy>=2") == (
        f"uv pip install --python '{tmp_path}/a b/python' 'numpy>=2'"
    )
    monkeypatch.setattr(machine_probes, "find_spec", lambda _: True)
    monkeypatch.setattr(machine_probes.shutil, "which", lambda _: "/usr/bin/pip")
    assert machine_probes.installed_packages().pip == f"'{tmp_path}/a b/python' -m pip {{}}"
    monkeypatch.setattr(machine_probes.shutil, "which", lambda _: f"{tmp_path}/a b/pip")
    assert machine_probes.installed_packages().pip == "pip {}"
