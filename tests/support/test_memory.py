from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.support.memory import _of_the_group, available_memory, free_swap, peak_memory

if TYPE_CHECKING:
    from pathlib import Path


def test_available_memory_is_a_plausible_number() -> None:
    size = available_memory()
    assert size is None or 1 << 20 < size < 1 << 50
    assert 0 <= free_swap() < 1 << 50


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def group(folder: Path, limit: str, usage: int, cached: int, *, version: int = 2) -> None:
    names = (
        ("memory.max", "memory.current")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    write(folder / names[0], f"{limit}\n")
    write(folder / names[1], f"{usage}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    write(folder / "memory.stat", f"anon {usage - cached}\n{key} {cached}\n")


def test_the_tightest_control_group_above_the_process_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/slice/job\n")
    root = tmp_path / "sys/fs/cgroup"
    group(root / "slice/job", "max", 700, 100)
    assert _of_the_group(tmp_path) is None
    group(root / "slice", "1000", 700, 100)
    assert _of_the_group(tmp_path) == 400
    group(root / "slice/job", "800", 700, 100)
    assert _of_the_group(tmp_path) == 200
    group(root / "slice/job", "500", 700, 0)
    assert _of_the_group(tmp_path) == 0


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    group(tmp_path / "sys/fs/cgroup", "1000", 900, 50)
    assert _of_the_group(tmp_path) == 150


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n")
    group(tmp_path / "sys/fs/cgroup/memory/x", str((1 << 63) - 4096), 700, 0, version=1)
    assert _of_the_group(tmp_path) is None
    # Inside a container the path may be that of the machine outside, and lead nowhere.
    group(tmp_path / "sys/fs/cgroup/memory", "5000", 700, 200, version=1)
    write(tmp_path / "proc/self/cgroup", "4:memory:/docker/abc\n")
    assert _of_the_group(tmp_path) == 4500


@pytest.mark.parametrize("text", ["", "nonsense\n", "4:memory:/x\n"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc/self/cgroup", text)
    assert _of_the_group(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_a_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from onnx_trtcal.support.memory import available_memory; print(available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 << 27 < int(done.stdout) < 1 << 30


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX resource usage")
def test_the_peak_grows_with_what_is_held() -> None:
    code = (
        "from onnx_trtcal.support.memory import peak_memory; before = peak_memory(); held = b'x' * (200 << 20);"
        "print(peak_memory() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 150 << 20 < int(done.stdout) < 260 << 20
    assert (peak_memory() or 0) > 1 << 20
