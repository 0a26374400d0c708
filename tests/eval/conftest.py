"""Small synthetic runs with a known relation to their ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.io.trajectory import save_trajectory
from evslam.types import Trajectory


def from_parts(t_us: np.ndarray, position: np.ndarray, rotation: Rotation) -> Trajectory:
    return Trajectory(t_us, np.hstack([position, rotation.as_quat()]))


@pytest.fixture
def truth() -> Trajectory:
    """Six seconds of smooth hand-held motion at 200 Hz."""
    t = np.arange(0, 6, 0.005)
    position = np.stack([0.5 * np.sin(1.3 * t), 0.3 * np.cos(0.9 * t), 0.2 * np.sin(2.1 * t + 1)], axis=1)
    turn = np.stack([0.6 * np.sin(1.7 * t), 0.5 * np.sin(1.1 * t + 0.5), 0.4 * np.cos(1.9 * t)], axis=1)
    return from_parts(np.rint(t * 1e6).astype(np.int64), position, Rotation.from_rotvec(turn))


@pytest.fixture
def make_run(tmp_path: Path, truth: Trajectory) -> Callable[..., Path]:
    """Write a run folder: make_run(estimate, key=value of metrics.json ...)."""

    def make(estimate: Trajectory | None, reference: Trajectory = truth, **metrics: Any) -> Path:
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        save_trajectory(reference, tmp_path / "groundtruth.txt")
        if estimate is not None:
            save_trajectory(estimate, run_dir / "trajectory.txt")
        given = {"mode": "6dof", "status": "done", "groundtruth": str(tmp_path / "groundtruth.txt")}
        given |= {"start_us": 0, "stop_us": 6_000_000, "losses": 0}
        (run_dir / "metrics.json").write_text(json.dumps(given | metrics))
        return run_dir

    return make
