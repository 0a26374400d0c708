"""Shared fixtures: a tiny simulated recording, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evslam.demo import write_simulation
from evslam.kernel_cache import forget_stale_kernels


@pytest.fixture(autouse=True, scope="session")
def _single_thread() -> None:
    torch.set_num_threads(1)
    forget_stale_kernels()


@pytest.fixture(scope="session")
def tiny_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.8 s of the demo sequence: a camera that looks around."""
    folder = tmp_path_factory.mktemp("tiny") / "recording"
    write_simulation("demo", folder, seed=3, duration_s=0.8)
    return folder
