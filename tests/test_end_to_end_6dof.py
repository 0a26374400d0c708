"""A camera that moves through a room of boxes, from events to trajectory, keyframes, map and picture."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from evslam.config import load_config
from evslam.demo import write_simulation
from evslam.errors import ConfigError
from evslam.eval.evaluate import evaluate_run
from evslam.io.recording import open_recording, write_recording
from evslam.io.results import read_ply
from evslam.io.trajectory import load_trajectory
from evslam.outputs import POSED, RunWriter
from evslam.runner import run
from evslam.session import RunOptions, open_session
from evslam.slam import SpatialSlam
from evslam.types import Events, Picture, TrackResult
from evslam.viz.batch_log import load_batch_log
from evslam.viz.viewer import StubViewer

CONFIG = load_config(overrides=["mode=6dof"])
DURATION_S = 1.4


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes") / "recording"
    write_simulation("boxes_6dof", folder, seed=1, duration_s=DURATION_S)
    return folder


@pytest.fixture(scope="module")
def finished(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    run(RunOptions(recording, out, progress=False), CONFIG)
    return out


def test_the_trajectory_is_that_of_the_camera(finished: Path) -> None:
    figures = evaluate_run(finished)
    assert figures["position"]["ate_sim3"]["rmse_percent_of_path"] < 1.5
    assert figures["position"]["null"]["rmse_percent_of_path"] > 20
    assert figures["rotation"]["absolute_best"]["rmse"] < 0.5
    assert figures["coverage"]["percent"] > 90  # also before the start, which needs half a second and more


def test_batches_that_are_seen_ahead_give_the_same_poses(recording: Path, finished: Path) -> None:
    session = open_session(RunOptions(recording, Path()), CONFIG)
    slam = SpatialSlam(session.camera, CONFIG)
    config = replace(CONFIG, batch=CONFIG.frame.batching)
    batches = session.batches(config, session.start_us, lambda: slam.pace)
    results = [result for result in map(slam.process, batches) if result.state in POSED]
    online = load_trajectory(finished / "trajectory_online.txt")
    assert online.t_us.tolist() == [result.t_ref_us for result in results]
    found = np.stack([result.T_world_cam.numpy() for result in results])
    np.testing.assert_allclose(online.poses, found, rtol=0, atol=1e-9)  # as written


def test_metrics_tell_of_starts_and_keyframes(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["mode"] == "6dof"
    assert metrics["starts"] == 1
    assert metrics["start_attempts"] >= 2
    assert metrics["waiting_for"] is None
    assert metrics["losses"] == 0
    assert set(metrics["states"]) == {"starting", "tracking"}
    assert 0 < metrics["refine_wall_s"] < metrics["wall_s"]
    assert metrics["keyframes"] == len(load_trajectory(finished / "keyframes.txt"))
    assert metrics["map_points"] == len(read_ply(finished / "map.ply").points)


def test_keyframes_lie_on_the_trajectory(finished: Path) -> None:
    keyframes, final = (load_trajectory(finished / name) for name in ("keyframes.txt", "trajectory.txt"))
    online = load_trajectory(finished / "trajectory_online.txt")
    assert len(keyframes) >= 8
    assert np.isin(keyframes.t_us, final.t_us).all()
    same = final.poses[np.isin(final.t_us, keyframes.t_us)]
    assert np.abs(same[:, :3] - keyframes.poses[:, :3]).max() < 1e-6
    assert np.abs(np.abs((same[:, 3:] * keyframes.poses[:, 3:]).sum(1)) - 1).max() < 1e-6
    assert np.isin(online.t_us, final.t_us).all()
    assert final.t_us[0] < online.t_us[0] - 300_000


def test_the_map_holds_points_before_the_camera(finished: Path) -> None:
    points = read_ply(finished / "map.ply").points
    assert len(points) > 500
    depth = points[:, 2]  # the world is the first camera
    assert np.median(depth) == pytest.approx(1, rel=0.5)  # in units of the median depth at the start
    assert (depth > 0).mean() > 0.98


def test_a_picture_shows_a_keyframe(finished: Path) -> None:
    image = imageio.imread(finished / "images" / "keyframe.png")
    colour = np.ptp(image[..., :3].astype(int), axis=2)
    assert image.shape[0] > 100
    assert (colour > 50).sum() > 200  # edges with depth


class _Looker(StubViewer):
    """Keeps what a viewer would be shown."""

    shown: ClassVar[list[Picture]] = []

    def update(self, result: TrackResult, picture: Callable[[], Picture], real_time_factor: float) -> None:
        assert real_time_factor > 0
        self.shown.append(picture())


def test_a_viewer_is_shown_events_map_and_keyframes(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evslam.runner.StubViewer", _Looker)
    metrics = run(RunOptions(recording, tmp_path / "run", progress=False), CONFIG)
    first, last = _Looker.shown[0], _Looker.shown[-1]
    assert len(_Looker.shown) == metrics["batches"]
    assert first.keyframes is None
    assert len(first.points) == len(first.pixels) == 0
    assert last.keyframes is not None
    assert len(last.keyframes) == metrics["keyframes"]
    sizes = [len(each.points) for each in _Looker.shown if each.keyframes is not None]
    assert 100 < sizes[0] < sizes[-1]
    assert len(last.pixels) == len(last.depth) > 200
    assert (last.depth > 0).all()
    x, y = last.pixels.astype(int).T  # map points lie where events are
    assert last.image[y, x].mean() > 2 * last.image.mean()


class _Interrupt:
    """Sends Ctrl-C after so many batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left, self.write = after, RunWriter.write
        monkeypatch.setattr(RunWriter, "write", lambda writer, result: self(writer, result))

    def __call__(self, writer: RunWriter, result: TrackResult) -> None:
        self.write(writer, result)
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("after", [30, 62], ids=["before the start", "after it"])
def test_an_interrupted_run_goes_on_to_the_same_result(
    recording: Path, finished: Path, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _Interrupt(patch, after)
        metrics = run(RunOptions(recording, tmp_path / "run", progress=False), CONFIG)
    assert metrics["status"] == "interrupted"
    assert after < metrics["batches"] < after + 10  # some had been seen already
    assert (tmp_path / "run" / "map.ply").exists() == (metrics["starts"] > 0)
    run(RunOptions(recording, tmp_path / "run", resume=True, progress=False), CONFIG)
    for name in ("trajectory.txt", "trajectory_online.txt", "keyframes.txt", "batches.csv"):
        assert (tmp_path / "run" / name).read_text() == (finished / name).read_text(), name


@pytest.fixture(scope="module")
def found_again(recording: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second half of the recording, found in the map of the whole."""
    out = tmp_path_factory.mktemp("found") / "run"
    run(RunOptions(recording, out, start_s=0.6, progress=False, map=finished), CONFIG)
    return out


def test_a_camera_is_found_in_the_map_of_an_earlier_run(finished: Path, found_again: Path) -> None:
    metrics = json.loads((found_again / "metrics.json").read_text())
    assert (metrics["starts"], metrics["relocalisations"], metrics["waiting_for"]) == (0, 1, None)
    one, other = (load_trajectory(folder / "trajectory.txt") for folder in (found_again, finished))
    apart = [
        np.linalg.norm(pose[:3] - [np.interp(t, other.t_us, column) for column in other.position.T])
        for t, pose in zip(one.t_us, one.poses, strict=True)
    ]
    assert len(one) > 20
    assert max(apart) < 0.02  # of the depth


def test_the_map_is_extended(finished: Path, found_again: Path) -> None:
    before, after = (torch.load(folder / "map.pt", weights_only=True) for folder in (finished, found_again))
    old, new = (each["map"]["fields"]["keyframes"]["items"] for each in (before, after))
    keyframes = load_trajectory(found_again / "keyframes.txt")
    assert len(new) == len(old) + len(keyframes)
    assert len(keyframes) > 0
    for one, other in zip(old, new, strict=False):  # what was given stays where it was
        assert torch.equal(one["fields"]["T_cam_world"], other["fields"]["T_cam_world"])


def test_a_map_serves_free_motions_only(recording: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--map serves mode 6dof only"):
        run(RunOptions(recording, tmp_path, progress=False, map=finished), load_config(overrides=["mode=rotation"]))


def command_of(recording: Path, out: Path, checkpoint_s: float = 30.0) -> list[str]:
    """A run in a process of its own."""
    arguments = [str(recording), "--out", str(out), "--mode", "6dof", "--set", f"run.checkpoint_s={checkpoint_s}"]
    return [sys.executable, "-m", "evslam.cli", "run", *arguments]


@pytest.fixture(scope="module")
def undisturbed(recording: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as `finished`, once all kernels are in the cache: just compiled ones round otherwise."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(command_of(recording, out), check=True, capture_output=True)
    return out


@pytest.mark.parametrize("checkpoint_s", [0.3, 30.0], ids=["after a checkpoint", "before the first"])
def test_a_killed_run_leaves_readable_results_and_goes_on(
    recording: Path, undisturbed: Path, checkpoint_s: float, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = command_of(recording, out, checkpoint_s)
    online, whole = out / "trajectory_online.txt", load_trajectory(undisturbed / "trajectory_online.txt")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if online.exists() and online.read_bytes().count(b"\n") >= len(whole) // 2:
                break
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    left = load_trajectory(online)
    batches = load_batch_log(out / "batches.csv")
    assert len(whole) // 2 <= len(left) < len(whole)
    assert np.array_equal(left.poses, whole.poses[: len(left)])
    assert abs(int(batches.t_us[-1]) - int(left.t_us[-1])) <= 20_000  # no more than a batch is missing
    assert not (out / "metrics.json").exists()
    assert subprocess.run([*command, "--resume"], check=False, capture_output=True).returncode == 0
    for name in ("trajectory.txt", "trajectory_online.txt", "keyframes.txt", "batches.csv"):
        assert (out / name).read_text() == (undisturbed / name).read_text(), name
    resumed = re.findall(r"resumed at (\d+\.\d+) s", (out / "run.log").read_text())
    assert (float(resumed[0]) > 0) == (checkpoint_s < 1)


def test_a_camera_that_only_turns_does_not_start(tiny_recording: Path, tmp_path: Path) -> None:
    metrics = run(RunOptions(tiny_recording, tmp_path / "run", progress=False), CONFIG)
    assert metrics["status"] == "lost"
    assert (metrics["starts"], metrics["keyframes"], metrics["map_points"]) == (0, 0, 0)
    assert "parallax" in metrics["waiting_for"]
    assert set(metrics["states"]) == {"starting"}
    assert len(load_trajectory(tmp_path / "run" / "trajectory.txt", minimum=0)) == 0
    assert not (tmp_path / "run" / "map.ply").exists()


@pytest.mark.parametrize("rate", [0, 4000, 100_000, 1_000_000])
def test_a_covered_lens_is_noticed(recording: Path, rate: int, tmp_path: Path) -> None:
    """For a second the camera stands still and sees nothing, noise of its pixels, or flicker; then it goes on."""
    camera, rng = open_recording(recording).camera, np.random.default_rng(1)
    moving = Events.concatenate(list(open_recording(recording).reader.read()))
    cut = int(np.searchsorted(moving.t, 1_200_000))
    t = np.sort(rng.integers(1_200_000, 2_200_000, rate))
    x, y = rng.integers(0, 240, rate).astype(np.uint16), rng.integers(0, 180, rate).astype(np.uint16)
    later = Events(moving.t + 1_000_000, moving.x, moving.y, moving.p)[cut:]
    parts = iter([moving[:cut], Events(t, x, y, rng.random(rate) < 0.5), later])
    write_recording(tmp_path / "covered", parts, camera=camera)
    run(RunOptions(tmp_path / "covered", tmp_path / "run", progress=False), CONFIG)
    batches = load_batch_log(tmp_path / "run" / "batches.csv")
    covered = (batches.t_us > 1_221_000) & (batches.t_us < 2_200_000)
    assert set(batches.state[covered]) <= {"sparse", "lost"}
    assert set(batches.state[batches.t_us > 2_250_000]) == {"tracking"}
    trajectory = load_trajectory(tmp_path / "run" / "trajectory.txt")
    before, after = (trajectory.position[np.argmin(np.abs(trajectory.t_us - t))] for t in (1_195_000, 2_205_000))
    assert np.linalg.norm(after - before) < 0.02  # of the median depth


@pytest.mark.parametrize("rate", [3000, 200_000])
def test_noise_only_is_no_recording_to_start_from(recording: Path, rate: int, tmp_path: Path) -> None:
    rng, number = np.random.default_rng(2), 2 * rate
    t = np.sort(rng.integers(0, 2_000_000, number))
    x, y = rng.integers(0, 240, number).astype(np.uint16), rng.integers(0, 180, number).astype(np.uint16)
    noise = Events(t, x, y, rng.random(number) < 0.5)
    write_recording(tmp_path / "noise", iter([noise]), camera=open_recording(recording).camera)
    metrics = run(RunOptions(tmp_path / "noise", tmp_path / "run", progress=False), CONFIG)
    assert metrics["status"] == "lost"
    assert set(metrics["states"]) == {"starting"}
    assert metrics["coverage_percent"] == 0
