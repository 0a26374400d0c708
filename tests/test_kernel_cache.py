"""Compiled kernels do not outlive the sources they were made from, and give the same bits when loaded as when made."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import evslam
from evslam.kernel_cache import forget_stale_kernels

SOURCES = Path(evslam.__file__).parent
FOLLOWED = """
import hashlib
import numpy as np
from evslam.tracking.patch_kernels import follow
random = np.random.default_rng(0)
images = [random.random((2, 2, side, side), np.float32) for side in (164, 106)]
levels = tuple(image[0] for image in images), tuple(0.9 * image[0] + 0.1 * image[1] for image in images)
start = random.uniform(5, 110, (50, 2))
guess, turn = start + 0.4, np.array([[1.02, 0.03], [-0.03, 0.98]])
gap = follow(levels, 24, start, guess, turn, np.linalg.inv(turn), np.array([20.0, 0.01]))
print(np.isfinite(gap).sum(), hashlib.sha256(guess.tobytes() + gap.tobytes()).hexdigest())
"""
INNER = "from numba import njit\n\n@njit(inline='always')\ndef inner(x):\n    return x + {number}\n"
OUTER = "from numba import njit\nfrom inner import inner\n\n@njit(cache=True)\ndef outer(x):\n    return inner(x)\n"


def result(folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", "from outer import outer; print(outer(1))"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def write(path: Path, text: str, seconds: float) -> None:
    """With a time of change of its own."""
    path.write_text(text)
    os.utime(path, (seconds, seconds))


def test_a_change_of_what_a_kernel_takes_over_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "inner.py", INNER.format(number=10), 1e9)
    write(tmp_path / "outer.py", OUTER, 1e9)
    assert result(tmp_path) == 11
    assert forget_stale_kernels(tmp_path) == 0
    later = max(index.stat().st_mtime for index in tmp_path.rglob("*.nbi")) + 5
    write(tmp_path / "inner.py", INNER.format(number=20), later)
    assert result(tmp_path) == 11  # numba alone does not notice
    assert forget_stale_kernels(tmp_path) == 1
    assert result(tmp_path) == 21


def test_sources_without_kernels_make_nothing_stale(tmp_path: Path) -> None:
    index = tmp_path / "__pycache__" / "outer.nbi"
    index.parent.mkdir()
    write(index, "", 1e9)
    write(tmp_path / "plain.py", "x = 1\n", 2e9)
    assert forget_stale_kernels(tmp_path) == 0
    assert index.exists()


def test_a_cache_of_somebody_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "outer.nbi"
    write(index, "", 1e9)
    write(tmp_path / "outer.py", OUTER, 2e9)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert forget_stale_kernels(tmp_path) == 0
    assert "outer.nbi" in caplog.text


def test_a_kernel_gives_the_same_bits_when_loaded_as_when_compiled(tmp_path: Path) -> None:
    command, place = [sys.executable, "-c", FOLLOWED], os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    compiled, loaded = (
        subprocess.run(command, env=place, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert int(compiled.split()[0]) > 25
    assert any(tmp_path.rglob("*.nbi"))
    assert loaded == compiled


def test_what_may_sum_in_any_order_is_part_of_the_kernel_that_calls_it() -> None:
    """numba shares functions between kernels; which copy a process gets depends on whether it was just compiled."""
    kernels: dict[str, tuple[str, set[str]]] = {}
    for source in SOURCES.rglob("*.py"):
        tree = ast.parse(source.read_text())
        settings = {
            target.id: ast.unparse(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                how = " ".join(ast.unparse(each) for each in node.decorator_list)
                how += "".join(value for name, value in settings.items() if f"**{name}" in how)
                calls = {c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}
                if "njit" in how:
                    kernels[node.name] = how, calls
    loose = {name for name, (how, _) in kernels.items() if "fastmath" in how and "inline=" not in how}
    assert "follow" in loose
    assert not [(name, called) for name, (_, calls) in kernels.items() for called in calls & loose]
