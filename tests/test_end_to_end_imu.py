"""A free motion with an IMU: from events to a map in metres with z up."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.demo import write_simulation
from evslam.errors import CalibrationError, DataError
from evslam.eval.evaluate import evaluate_run
from evslam.geometry.trajectory import interpolate
from evslam.io.imu import load_imu, save_imu
from evslam.io.results import read_ply
from evslam.io.trajectory import load_trajectory
from evslam.outputs import RunWriter
from evslam.runner import run
from evslam.session import RunOptions, open_session
from evslam.types import Imu, TrackResult

CONFIG = load_config(overrides=["mode=6dof", "gyro.use=true"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes") / "recording"
    write_simulation("boxes_6dof", folder, seed=6, duration_s=2.6)
    return folder


@pytest.fixture(scope="module")
def finished(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    run(RunOptions(recording, out, progress=False), CONFIG)
    return out


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text())["imu"])


def test_the_trajectory_is_in_metres(finished: Path) -> None:
    figures = told(finished)
    assert figures["metric"]
    assert 0 < figures["scale_sigma"] < 0.05
    scale = evaluate_run(finished)["position"]["ate_sim3"]["scale"]
    assert scale == pytest.approx(1, abs=max(0.02, 3 * figures["scale_sigma"]))


def test_gravity_points_down(finished: Path, recording: Path) -> None:
    estimate, truth = (load_trajectory(folder / name) for folder, name in
                       ((finished, "trajectory.txt"), (recording, "groundtruth.txt")))  # fmt: skip
    inside = estimate.t_us <= truth.t_us[-1]
    true = Rotation.from_quat(interpolate(truth, estimate.t_us[inside])[:, 3:])
    up = (Rotation.from_quat(estimate.quaternion[inside]) * true.inv()).mean().apply([0, 0, 1])
    assert np.degrees(np.arccos(up[2])) < 2  # 2.6 s; longer runs are better
    assert told(finished)["accel_bias"] is not None


def test_keyframes_and_map_are_in_metres_too(finished: Path) -> None:
    keyframes, final = (load_trajectory(finished / name) for name in ("keyframes.txt", "trajectory.txt"))
    assert np.isin(keyframes.t_us, final.t_us).all()
    same = final.poses[np.isin(final.t_us, keyframes.t_us)]
    assert np.abs(same[:, :3] - keyframes.poses[:, :3]).max() < 1e-6
    points = read_ply(finished / "map.ply").points
    assert (np.abs(points).max(1) < 10).mean() > 0.95  # a room of 8 m


def test_a_scale_that_is_not_sure_leaves_the_map_as_it_is(recording: Path, tmp_path: Path) -> None:
    imu = load_imu(recording / "imu.txt")
    for name in ("events.h5", "calib.txt"):
        (tmp_path / name).symlink_to(recording / name)
    save_imu(Imu(imu.t_us, 0 * imu.acceleration, imu.gyro), tmp_path / "imu.txt")
    run(RunOptions(tmp_path, tmp_path / "run", duration_s=1.4, progress=False), CONFIG)
    figures = told(tmp_path / "run")
    assert (figures["metric"], figures["reason"], figures["scale"]) == (False, "no accelerometer", None)
    first = load_trajectory(tmp_path / "run" / "trajectory.txt").poses[0]
    assert first == pytest.approx([0, 0, 0, 0, 0, 0, 1], abs=1e-9)
    assert "does not tell metres" in (tmp_path / "run" / "run.log").read_text()


def test_an_interrupted_run_goes_on_to_the_same_result(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (RunOptions(recording, tmp_path / name, duration_s=1.3, progress=False) for name in ("whole", "cut"))
    run(whole, CONFIG)
    written, write = [0], RunWriter.write

    def interrupting(writer: RunWriter, result: TrackResult) -> None:
        write(writer, result)
        written[0] += 1
        if written[0] == 50:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "write", interrupting)
        assert run(cut, CONFIG)["status"] == "interrupted"
    run(replace(cut, resume=True), CONFIG)
    for name in ("trajectory.txt", "trajectory_online.txt", "keyframes.txt", "batches.csv"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text(), name
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


def test_no_imu_is_an_error(recording: Path, tmp_path: Path) -> None:
    for name in ("events.h5", "calib.txt"):
        (tmp_path / name).symlink_to(recording / name)
    with pytest.raises(DataError, match="no IMU to use"):
        open_session(RunOptions(tmp_path, tmp_path / "run"), CONFIG).imu(CONFIG)


def test_another_clock_is_an_error(recording: Path, tmp_path: Path) -> None:
    imu = load_imu(recording / "imu.txt")
    for name in ("events.h5", "calib.txt"):
        (tmp_path / name).symlink_to(recording / name)
    save_imu(Imu(imu.t_us + 10**9, imu.acceleration, imu.gyro), tmp_path / "imu.txt")
    with pytest.raises(DataError, match="to one clock"):
        open_session(RunOptions(tmp_path, tmp_path / "run"), CONFIG).imu(CONFIG)


def test_the_place_of_the_imu_can_be_given(recording: Path) -> None:
    config = load_config(overrides=["gyro.use=true", "gyro.T_cam_imu=0.1 0 0 0 0 1 0"])
    signal = open_session(RunOptions(recording, Path()), config).imu(config)
    assert signal is not None
    assert signal.lever.tolist() == [0.1, 0, 0]
    imu = load_imu(recording / "imu.txt")
    assert signal.gyro == pytest.approx(imu.gyro * [-1, -1, 1])
    wrong = load_config(overrides=["gyro.use=true", "gyro.T_cam_imu=0.1 0 0"])
    with pytest.raises(CalibrationError, match="3 words"):
        open_session(RunOptions(recording, Path()), wrong).imu(wrong)
