"""Compiled kernels do not outlive the sources they were made from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evslam.kernel_cache import forget_stale_kernels

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
