"""From a recording to a trajectory, a map, pictures and accuracy, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.cli import main
from evslam.config import load_config
from evslam.demo import write_simulation
from evslam.errors import ConfigError
from evslam.eval.evaluate import evaluate_run
from evslam.geometry.trajectory import interpolate
from evslam.io.recording import open_recording, write_recording
from evslam.io.results import read_ply
from evslam.io.trajectory import load_trajectory
from evslam.runner import run
from evslam.session import RunOptions
from evslam.types import Events


def _run(recording: Path, out: Path, *extra: str) -> int:
    return main(["run", str(recording), "--out", str(out), "--mode", "rotation", *extra])


@pytest.fixture(scope="module")
def finished(tiny_recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    assert _run(tiny_recording, out) == 0
    return out


def test_rotation_run_is_accurate(finished: Path) -> None:
    figures = evaluate_run(finished)
    assert figures["coverage"]["percent"] > 95
    assert figures["rotation"]["absolute_best"]["rmse"] < 0.15
    assert figures["rotation"]["null"]["rmse"] > 4 * figures["rotation"]["absolute_best"]["rmse"]


def test_run_folder_is_complete(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["status"] == "complete"
    assert metrics["mode"] == "rotation"
    noise = metrics["noise"]
    assert noise["seen"] == metrics["read"]["read"]
    assert metrics["events"] == noise["seen"] - noise["dropped_hot"]
    assert (noise["dropped_background"], noise["dropped_rate"]) == (0, 0)
    assert metrics["calibration"].endswith("calib.txt")
    assert metrics["states"]["tracking"] >= metrics["batches"] - 1  # the last batch may be too short to measure
    assert metrics["real_time_factor"] == pytest.approx(metrics["duration_s"] / metrics["wall_s"])
    trajectory = load_trajectory(finished / "trajectory.txt")
    assert len(trajectory) >= metrics["batches"]  # several poses a batch
    assert np.diff(trajectory.t_us).max() <= 30_000
    assert np.array_equal(load_trajectory(finished / "trajectory_online.txt").t_us, trajectory.t_us)
    assert np.abs(np.linalg.norm(trajectory.quaternion, axis=1) - 1).max() < 1e-9
    assert np.array_equal(trajectory.position, np.zeros_like(trajectory.position))
    points = read_ply(finished / "map.ply")
    assert np.abs(np.linalg.norm(points.points, axis=1) - 1).max() < 1e-6
    assert len(points.points) == metrics["map_points"] > 1000
    assert np.load(finished / "panorama.npy").sum() > 1000
    for name in ("panorama.png", "images/compensation.png", "plots/pose.png", "versions.txt", "run.log"):
        assert (finished / name).stat().st_size > 100
    assert load_config(finished / "config.yaml") == load_config(overrides=["mode=rotation"])


def test_same_seed_same_trajectory(tiny_recording: Path, finished: Path, tmp_path: Path) -> None:
    assert _run(tiny_recording, tmp_path / "again") == 0
    for name in ("trajectory.txt", "trajectory_online.txt", "batches.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_auto_finds_the_rotation(tiny_recording: Path, finished: Path, tmp_path: Path) -> None:
    options = RunOptions(tiny_recording, tmp_path / "auto", progress=False)
    assert run(options, load_config())["mode"] == "rotation"
    assert (tmp_path / "auto" / "trajectory.txt").read_bytes() == (finished / "trajectory.txt").read_bytes()


def test_interrupted_run_resumes_to_the_same_result(tiny_recording: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    command = [sys.executable, "-m", "evslam.cli", "run", str(tiny_recording), "--out", str(out), "--mode", "rotation"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if (out / "trajectory_online.txt").exists() and (out / "trajectory_online.txt").stat().st_size:
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.002)
        status = process.wait(60)
    assert status in (130, 0)  # 0: it was through before the signal came
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["status"] == ("interrupted" if status == 130 else "complete")
    assert len(load_trajectory(out / "trajectory.txt", minimum=1)) >= metrics["batches"] - 1
    with (out / "trajectory_online.txt").open("a") as file:
        file.write("0.9 1 2 3")  # what a crash after the checkpoint might leave
    assert _run(tiny_recording, out, "--resume") == 0
    for name in ("trajectory.txt", "batches.csv"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_resume_refuses_another_configuration(tiny_recording: Path, finished: Path) -> None:
    options = RunOptions(tiny_recording, finished, resume=True, progress=False)
    with pytest.raises(ConfigError, match="configuration differs"):
        run(options, load_config(overrides=["mode=rotation", "batch.num_events=1000"]))


def test_start_and_duration_select_a_stretch(tiny_recording: Path, tmp_path: Path) -> None:
    assert _run(tiny_recording, tmp_path / "part", "--start", "0.3", "--duration", "0.2") == 0
    t = load_trajectory(tmp_path / "part" / "trajectory.txt").t_us * 1e-6
    assert 0.3 <= t[0] < 0.4
    assert 0.45 < t[-1] <= 0.51


def test_rest_keeps_the_pose(tiny_recording: Path, tmp_path: Path) -> None:
    """A camera that stops sees noise only: the pose stays, nothing is lost, and tracking goes on afterwards."""
    recording, rng = open_recording(tiny_recording), np.random.default_rng(0)
    moving = Events.concatenate(list(recording.reader.read()))
    t = np.sort(rng.integers(800_000, 1_800_000, 9000))
    x, y = rng.integers(0, 240, 9000).astype(np.uint16), rng.integers(0, 180, 9000).astype(np.uint16)
    later = Events(moving.t + 1_800_000, moving.x, moving.y, moving.p)
    write_recording(
        tmp_path / "pause", iter([moving, Events(t, x, y, rng.random(9000) < 0.5), later]), camera=recording.camera
    )
    options = RunOptions(tmp_path / "pause", tmp_path / "run", progress=False)
    metrics = run(options, load_config(overrides=["mode=rotation"]))
    assert metrics["losses"] == 0
    assert metrics["states"]["sparse"] >= 14
    trajectory = load_trajectory(tmp_path / "run" / "trajectory.txt")
    turns = Rotation.from_quat(trajectory.quaternion)
    before, resting, after = np.searchsorted(trajectory.t_us, [1_100_000, 1_600_000, 2_000_000])
    assert np.degrees((turns[int(before)].inv() * turns[int(resting)]).magnitude()) < 0.1
    assert np.degrees((turns[int(resting)].inv() * turns[int(after)]).magnitude()) > 1
    # the same motion once more, from a place that the camera never went to: it is found on the panorama
    t_us = np.arange(200_000, 700_000, 50_000)
    first, again = (Rotation.from_quat(interpolate(trajectory, t_us + shift)[:, 3:]) for shift in (0, 1_800_000))
    assert np.degrees((first.inv() * again).magnitude()).max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "duration_s", "bound_deg"),
    [("rot_hand", 3.0, 1.5), ("rot_mover", 3.0, 0.4), ("rot_rests", 4.0, 0.6)],
    ids=["the hand moves by centimetres", "an object crosses the view", "the camera rests"],
)
def test_what_is_no_plain_rotation_degrades_gently(
    name: str, duration_s: float, bound_deg: float, tmp_path: Path
) -> None:
    write_simulation(name, tmp_path / "recording", seed=2, duration_s=duration_s)
    assert _run(tmp_path / "recording", tmp_path / "run") == 0
    figures = evaluate_run(tmp_path / "run")
    assert figures["coverage"]["percent"] > 95
    assert figures["rotation"]["absolute_best"]["rmse"] < bound_deg
    assert figures["rotation"]["null"]["rmse"] > 4 * figures["rotation"]["absolute_best"]["rmse"]


@pytest.mark.parametrize("rate", [9_000, 60_000])
def test_three_seconds_of_noise(tiny_recording: Path, tmp_path: Path, rate: int) -> None:
    """The lens is covered while the camera turns back to where it began: it goes on in the same map."""
    recording, rng = open_recording(tiny_recording), np.random.default_rng(1)
    moving = Events.concatenate(list(recording.reader.read()))
    number = 3 * rate
    t = np.sort(rng.integers(800_000, 3_800_000, number))
    x, y = rng.integers(0, 240, number).astype(np.uint16), rng.integers(0, 180, number).astype(np.uint16)
    later = Events(moving.t + 3_800_000, moving.x, moving.y, moving.p)
    parts = iter([moving, Events(t, x, y, rng.random(number) < 0.5), later])
    write_recording(tmp_path / "covered", parts, camera=recording.camera)
    run(RunOptions(tmp_path / "covered", tmp_path / "run", progress=False), load_config(overrides=["mode=rotation"]))
    trajectory, t_us = load_trajectory(tmp_path / "run" / "trajectory.txt"), np.arange(300_000, 700_000, 50_000)
    first, again = (Rotation.from_quat(interpolate(trajectory, t_us + shift)[:, 3:]) for shift in (0, 3_800_000))
    assert np.degrees((first.inv() * again).magnitude()).max() < 0.3


def test_eval_and_view(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(finished), "--markdown"]) == 0
    assert "rotation from start [deg]" in capsys.readouterr().out
    assert "accuracy" in json.loads((finished / "metrics.json").read_text())
    assert (finished / "evaluation.csv").exists()
    assert main(["view", str(finished), "--save", str(tmp_path / "scene.png")]) == 0
    assert (tmp_path / "scene.png").stat().st_size > 5000


@pytest.mark.skipif("EVSLAM_DATA" not in os.environ, reason="set EVSLAM_DATA to the folder with real/ and sim/")
@pytest.mark.parametrize(
    ("name", "figure", "bound_deg"), [("rot_pan", "absolute_best", 0.11), ("rot_fast", "time_shift", 0.12)]
)
def test_recorded_rotation(name: str, figure: str, bound_deg: float, tmp_path: Path) -> None:
    recording = Path(os.environ["EVSLAM_DATA"]) / "sim" / name
    assert _run(recording, tmp_path / "run") == 0
    assert evaluate_run(tmp_path / "run")["rotation"][figure]["rmse"] < bound_deg


def test_latency_is_taken_off_and_refinement_can_be_left_out(
    tiny_recording: Path, finished: Path, tmp_path: Path
) -> None:
    assert _run(tiny_recording, tmp_path / "late", "--set", "sensor.latency_ms=1.5", "--no-refine") == 0
    late, plain = (load_trajectory(folder / "trajectory_online.txt") for folder in (tmp_path / "late", finished))
    assert np.array_equal(late.t_us + 1500, plain.t_us)
    assert np.array_equal(late.poses, plain.poses)
    final, refined = (load_trajectory(folder / "trajectory.txt") for folder in (tmp_path / "late", finished))
    assert (
        np.abs(np.abs((final.quaternion * late.quaternion).sum(1)) - 1).max() < 1e-5
    )  # windows still move what was told
    assert np.abs(final.quaternion - refined.quaternion).max() > 1e-5
