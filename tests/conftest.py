"""Shared fixtures: a tiny simulated recording, made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evslam.kernel_cache import forget_stale_kernels


def pytest_configure() -> None:
    """Before numba is imported: where colorama is installed, it swaps sys.stderr while it compiles, in any thread."""
    os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
    forget_stale_kernels()


@pytest.fixture(autouse=True, scope="session")
def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.8 s of the demo sequence: a camera that looks around."""
    from evslam.demo import write_simulation

    folder = tmp_path_factory.mktemp("tiny") / "recording"
    write_simulation("demo", folder, seed=3, duration_s=0.8)
    return folder
