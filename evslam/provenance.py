"""Where a result comes from: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import evslam
from evslam.geometry.lie import backend

PACKAGES = ("torch", "numpy", "scipy", "numba", "h5py", "evo", "open3d", "open3d-cpu", "gtsam", "pyyaml")


def commit() -> str:
    """Commit of the source tree, `+` appended when it holds changes; `unknown` outside a checkout."""
    folder = Path(evslam.__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def versions() -> dict[str, str]:
    """Versions that a result depends on, by name."""
    found = {"evslam": evslam.__version__, "commit": commit(), "python": platform.python_version()}
    found |= {"platform": platform.platform(), "lie backend": backend()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
