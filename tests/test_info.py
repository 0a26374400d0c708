"""What `evslam info` tells about a recording, its problems, and its picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.cli import main
from evslam.config import load_config
from evslam.info import Description, describe, sample
from evslam.io.imu import save_imu
from evslam.io.recording import open_recording
from evslam.io.text import write_events_text
from evslam.io.trajectory import save_trajectory
from evslam.types import Events, Imu, SensorSize, Trajectory

NOISE = load_config().noise
SIZE = SensorSize(height=20, width=30)


def recording(folder: Path, events: Events) -> Path:
    folder.mkdir(exist_ok=True)
    write_events_text(folder / "events.txt", [events])
    return folder


def events(duration_us: int = 1_000_000, num_events: int = 6000, size: SensorSize = SIZE) -> Events:
    rng = np.random.default_rng(5)
    t = np.sort(rng.integers(0, duration_us, num_events))
    x, y = (rng.integers(0, limit, num_events).astype(np.uint16) for limit in (size.width, size.height))
    return Events(t, x, y, rng.integers(0, 2, num_events) > 0)


def told(folder: Path, size: SensorSize = SIZE) -> Description:
    return describe(open_recording(folder, size=size), NOISE)


def turning(num_poses: int = 600) -> Trajectory:
    t = np.arange(num_poses) * 0.005
    angles = np.stack([0.6 * np.sin(2.1 * t), 0.8 * np.sin(1.7 * t + 1), 0.5 * np.sin(2.9 * t + 2)], 1)
    position = np.stack([np.sin(t), np.cos(2 * t), t], 1)
    return Trajectory(5000 * np.arange(num_poses), np.hstack([position, Rotation.from_euler("xyz", angles).as_quat()]))


def test_figures_of_an_even_recording(tmp_path: Path) -> None:
    folder = recording(tmp_path / "even", events())
    (folder / "calib.txt").write_text("30 30 15 10")
    description = told(folder)
    found = description.survey
    assert description.problems == ()
    assert found.per_bin.sum() == found.counts.sum() == found.num_events == 6000
    assert np.median(found.rate) == pytest.approx(6000, rel=0.2)
    assert description.lines["calibration"].startswith("none, fx 30 fy 30 cx 15 cy 10 (")
    assert (description.lines["ground truth"], description.lines["imu"]) == ("none", "none")


def test_problems_of_the_events(tmp_path: Path) -> None:
    all_events = events()
    t = np.where(all_events.t > 300_000, all_events.t + 700_000, all_events.t)
    x, y = all_events.x.copy(), all_events.y.copy()
    x[:600:2], y[:600:2] = 8, 9
    recorded = Events(t, x % 20, y, np.ones(len(t), bool))
    problems = told(recording(tmp_path / "odd", recorded)).problems
    assert problems[0] == "1 hot pixels are masked while running (noise.hot_pixels)"
    assert problems[1].startswith("1 times without any event for more than 0.1 s, the longest 0.70")
    assert problems[2] == "100 % of the events are ON: check the polarity or the sensor's biases"
    assert problems[3] == (
        "no event beyond column 19 and row 19 of 30 x 20 pixels: if the sensor is smaller, give "
        "--set sensor.width=20 --set sensor.height=20"
    )
    assert problems[4].startswith("no calibration; looked for calib.yaml, calib.txt")


def test_ground_truth_is_held_against_the_gyroscope(tmp_path: Path) -> None:
    folder, truth = recording(tmp_path / "gyro", events(3_000_000, 20_000)), turning()
    (folder / "calib.txt").write_text("30 30 15 10")
    rotation = Rotation.from_quat(truth.quaternion)
    gyro = Rotation.from_rotvec([1, 0.2, 0.3]).apply((rotation[:-1].inv() * rotation[1:]).as_rotvec() / 0.005)
    save_imu(Imu(truth.t_us[:-1] + 2500, np.zeros_like(gyro), gyro), folder / "imu.txt")
    save_trajectory(truth, folder / "groundtruth.txt")
    assert told(folder).problems == ()
    w_first = Trajectory(truth.t_us, truth.poses[:, [0, 1, 2, 6, 3, 4, 5]])
    save_trajectory(w_first, folder / "groundtruth.txt")
    (problem,) = told(folder).problems
    assert problem.startswith("the gyroscope disagrees with the ground truth's rotation")
    assert problem.endswith("give --gt-inverse or --gt-order wxyz")


def test_what_cannot_be_used_is_a_problem_not_an_error(tmp_path: Path) -> None:
    folder = recording(tmp_path / "bad", events())
    for name in ("calib.txt", "groundtruth.txt", "imu.txt"):
        (folder / name).write_text("1 2 3")
    description = told(folder)
    assert [description.lines[each] for each in ("calibration", "ground truth", "imu")] == 3 * [
        "cannot be used, see problems"
    ]
    for name, problem in zip(("calib.txt", "groundtruth.txt", "imu.txt"), description.problems, strict=True):
        assert problem.startswith(str(folder / name))


def test_sample_is_of_the_busiest_time(tmp_path: Path) -> None:
    recorded = events()
    burst = Events(*(getattr(events(4000, 4000), name) for name in "txyp"))
    together = Events.concatenate([recorded, Events(burst.t + 500_000, burst.x, burst.y, burst.p)])
    order = np.argsort(together.t, kind="stable")
    folder = recording(tmp_path / "burst", Events(*(getattr(together, name)[order] for name in "txyp")))
    opened = open_recording(folder, size=SIZE)
    first = sample(opened, describe(opened, NOISE).survey)
    assert 499_000 <= first.t[0] <= 504_000


def test_command_with_picture_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recording(tmp_path / "mine", events(size=SensorSize(height=180, width=240)))
    truth = tmp_path / "truth.txt"
    truth.write_text("".join(f"{t} 0 0 {t} 0 0 0 1\n" for t in range(0, 1000, 5)))
    picture = tmp_path / "pictures" / "info.png"
    arguments = ["info", str(folder), "--fov", "60", "--save", str(picture), "--groundtruth", str(truth)]
    assert main([*arguments, "--gt-unit", "ms", "--gt-offset", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "problems       calibration assumed: pinhole with a field of view of 60 degrees" in out
    assert "200 poses, 0.100 to 1.095 s" in out
    assert out.strip().endswith(str(picture))
    height, width = iio.imread(picture).shape[:2]
    assert width == 1050
    assert height > 500
    assert main(arguments) == 0
    assert "evidently no seconds but milliseconds" in capsys.readouterr().out
    assert main(["info", str(folder), "--groundtruth", "nowhere.txt"]) == 2
    assert "nowhere.txt: no such ground truth file; check --groundtruth FILE" in capsys.readouterr().err
