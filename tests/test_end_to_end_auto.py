"""Mode `auto` on a camera that turns first and moves later, and on one that never moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.eval.evaluate import evaluate_run
from evslam.io.recording import write_recording
from evslam.io.trajectory import load_trajectory
from evslam.runner import run
from evslam.session import RunOptions
from evslam.sim.motion import Motion
from evslam.sim.sequences import sequence
from evslam.sim.simulation import simulate

TURNING_S, DURATION_S = 1.2, 3.6
QUICK = ["auto.interval_s=0.4", "auto.look_batches=4", "auto.num_batches=10"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room of boxes, seen from one place by a camera that turns, and then walks off."""
    folder = tmp_path_factory.mktemp("walks_off") / "recording"
    config = sequence("boxes_6dof", seed=51, duration=DURATION_S)
    t = np.arange(-0.16, DURATION_S + 0.2, 0.04)
    away = np.clip(t - TURNING_S, 0, None)
    position = 0.5 * np.stack([0.4 * away**2, np.sin(2 * away) * away, 0.2 * np.sin(3 * away) * away], 1)
    turn = Rotation.from_rotvec(np.stack([0.2 * np.sin(2 * t), 0.25 * np.sin(1.5 * t), 0.15 * np.sin(t)], 1))
    forward = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    simulation = simulate(replace(config, motion=Motion(t, position, forward * turn)))
    write_recording(folder, simulation.events(), camera=simulation.camera, trajectory=simulation.trajectory)
    return folder


def test_a_camera_that_walks_off_is_followed(recording: Path, tmp_path: Path) -> None:
    run(RunOptions(recording, tmp_path / "run", progress=False), load_config(overrides=QUICK))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (switch,) = metrics["mode_switches"]
    assert metrics["mode"] == switch["mode"] == "6dof"
    assert TURNING_S < switch["at_s"] < DURATION_S
    assert "the panorama agrees by" in switch["reason"]
    assert "mode auto goes over to 6dof" in (tmp_path / "run" / "run.log").read_text()
    assert metrics["processed_until_us"] == metrics["stop_us"]
    position = evaluate_run(tmp_path / "run")["position"]
    assert position["ate_sim3"]["rmse_percent_of_path"] < 0.25 * position["null"]["rmse_percent_of_path"]
    assert np.ptp(load_trajectory(tmp_path / "run" / "trajectory_online.txt").position, axis=0).max() > 0


def test_without_a_start_there_is_a_rotation(tiny_recording: Path, tmp_path: Path) -> None:
    """Forced to begin with 6dof, by a limit that every gain exceeds."""
    config = load_config(overrides=["auto.min_gain=-1.0"])
    run(RunOptions(tiny_recording, tmp_path / "run", progress=False), config)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["mode"] == "rotation"
    assert metrics["status"] == "complete"
    assert [switch["reason"] for switch in metrics["mode_switches"]] == ["no start was found to the end"]
    run(RunOptions(tiny_recording, tmp_path / "plain", progress=False), load_config(overrides=["mode=rotation"]))
    for name in ("trajectory.txt", "batches.csv"):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "plain" / name).read_text(), name
