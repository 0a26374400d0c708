"""Trajectory and IMU files: values, refused rows, appending."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evslam.errors import DataError
from evslam.io.imu import load_imu, save_imu
from evslam.io.trajectory import TrajectoryWriter, load_trajectory, save_trajectory
from evslam.types import Imu, Trajectory

POSE = "1 2 3 0 0 0 1"


def make(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "groundtruth.txt"
    path.write_text(content)
    return path


def test_values(tmp_path: Path) -> None:
    path = make(tmp_path, f"# t px\n1500000000.123456 {POSE}\n\n1500000000.123457 -1 0.5 1e-3 0 0.6 0 -0.8\n")
    trajectory = load_trajectory(path)
    assert trajectory.t_us.tolist() == [1_500_000_000_123_456, 1_500_000_000_123_457]
    expected = np.array([[1, 2, 3, 0, 0, 0, 1], [-1, 0.5, 1e-3, 0, 0.6, 0, -0.8]])
    np.testing.assert_allclose(trajectory.poses, expected, rtol=1e-15)


def test_quaternions_are_normalised(tmp_path: Path) -> None:
    poses = load_trajectory(make(tmp_path, "1 0 0 0 0 0.603 0 0.804\n2 0 0 0 0 0 0 0.991\n")).poses
    np.testing.assert_allclose(poses[:, 3:], np.array([[0, 0.6, 0, 0.8], [0, 0, 0, 1]]), rtol=1e-12)


def test_repeated_times_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path, f"1 {POSE}\n1.0000001 4 5 6 0 0 0 1\n2 {POSE}\n2 {POSE}\n")
    with caplog.at_level(logging.WARNING):
        trajectory = load_trajectory(path)
    assert trajectory.t_us.tolist() == [1_000_000, 2_000_000]
    assert trajectory.position[0].tolist() == [1, 2, 3]
    assert f"{path}: 2 rows repeat the time before them" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 1 2 3 0 0 0", "line 4: 7 columns where 8 are expected (t px py pz qx qy qz qw); correct the line"),
        ("2 1 x 3 0 0 0 1", "line 4: py is 'x', not a number; correct or remove the line"),
        ("2 1 2 nan 0 0 0 1", "line 4: pz is 'nan', not finite; correct or remove the line"),
        ("2 1 2 3 0 0 0 1.011", "line 4: quaternion has norm 1.011 instead of 1; columns must be t px py pz"),
        ("2 1 2 3 0 0 0 0", "line 4: quaternion has norm 0 instead of 1"),
        ("0.5 1 2 3 0 0 0 1", "line 4: time goes back from 1.000000 s to 0.500000 s; sort the file by time"),
        ("1500000000000000000 1 2 3 0 0 0 1", "time 1500000000000000000 cannot be in seconds; divide microseconds"),
    ],
)
def test_refused_rows(tmp_path: Path, line: str, message: str) -> None:
    path = make(tmp_path, f"# head\n1 {POSE}\n\n{line}\n3 {POSE}\n")
    with pytest.raises(DataError) as caught:
        load_trajectory(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", ["", "# t px\n", f"1 {POSE}\n"])
def test_too_few_rows(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"groundtruth.txt: \d rows where at least 2 are needed .*; give a longer file"):
        load_trajectory(make(tmp_path, content))


def test_one_time_repeated_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 different times where at least 2 are needed"):
        load_trajectory(make(tmp_path, f"1 {POSE}\n1 {POSE}\n"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"imu.txt: no such file; check the path"):
        load_imu(tmp_path / "imu.txt")


times = st.lists(st.integers(-(10**10), 2 * 10**15), min_size=2, max_size=10, unique=True).map(sorted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(times, st.integers(0, 2**32 - 1))
def test_round_trip(tmp_path: Path, t_us: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(len(t_us), 7)) * 10.0 ** rng.integers(-6, 6)
    poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
    save_trajectory(Trajectory(np.array(t_us), poses), tmp_path / "t.txt")
    back = load_trajectory(tmp_path / "t.txt")
    assert back.t_us.tolist() == t_us
    np.testing.assert_allclose(back.poses, poses, rtol=1e-11, atol=1e-12)


def test_written_form(tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path / "t.txt") as writer:
        writer.append(1_000_001, torch.tensor([1 / 3, 0, -2, 0, 0, 0, 1], dtype=torch.float64))
        writer.append(1_700_000_000_000_020, [1e-7, 0, 123456.789012, 0, 0, 0, 1])
    assert (tmp_path / "t.txt").read_text() == (
        "1.000001 0.333333333333 0 -2 0 0 0 1\n1700000000.000020 1e-07 0 123456.789012 0 0 0 1\n"
    )


def test_lines_are_on_disk_before_the_writer_is_closed(tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path / "t.txt")
    for index in range(3):
        writer.append(index, [index, 0, 0, 0, 0, 0, 1])
        assert len((tmp_path / "t.txt").read_text().splitlines()) == index + 1
    writer.close()


def test_writer_resumes_after_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text(f"1.000000 {POSE}\n2.000000 {POSE}\n3.0000")
    with TrajectoryWriter(path, resume=True) as writer:
        assert writer.last_us == 2_000_000
        writer.append(2_500_000, [9, 0, 0, 0, 0, 0, 1])
    trajectory = load_trajectory(path)
    assert trajectory.t_us.tolist() == [1_000_000, 2_000_000, 2_500_000]
    assert trajectory.position[:, 0].tolist() == [1, 1, 9]


@pytest.mark.parametrize("content", [None, "", "1.00"])
def test_writer_resumes_from_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_text(content)
    with TrajectoryWriter(path, resume=True) as writer:
        assert writer.last_us is None
        writer.append(5, [0, 0, 0, 0, 0, 0, 1])
    assert path.read_text() == "0.000005 0 0 0 0 0 0 1\n"


def test_writer_refuses_disorder_and_nan(tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path / "t.txt") as writer:
        writer.append(5, [0, 0, 0, 0, 0, 0, 1])
        with pytest.raises(DataError, match="pose at 5 us does not follow 5 us; write poses in order"):
            writer.append(5, [0, 0, 0, 0, 0, 0, 1])
        with pytest.raises(DataError, match=r"pose at 6 us is \[nan, .*not 7 finite numbers; leave it out"):
            writer.append(6, [np.nan, 0, 0, 0, 0, 0, 1])
    assert (tmp_path / "t.txt").read_text() == "0.000005 0 0 0 0 0 0 1\n"


def test_imu_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    imu = Imu(np.array([0, 1_000, 2_001]), rng.normal(size=(3, 3)), rng.normal(size=(3, 3)))
    save_imu(imu, tmp_path / "imu.txt")
    back = load_imu(tmp_path / "imu.txt")
    assert back.t_us.tolist() == [0, 1_000, 2_001]
    np.testing.assert_allclose(back.acceleration, imu.acceleration, rtol=1e-11)
    np.testing.assert_allclose(back.gyro, imu.gyro, rtol=1e-11)


def test_imu_columns(tmp_path: Path) -> None:
    path = make(tmp_path, "0 1 2 3 4 5 6\n0.001 1 2 3 4 5 6\n")
    assert load_imu(path).acceleration[0].tolist() == [1, 2, 3]
    assert load_imu(path).gyro[1].tolist() == [4, 5, 6]
    with pytest.raises(DataError, match=r"line 1: 8 columns where 7 are expected \(t ax ay az gx gy gz\)"):
        load_imu(make(tmp_path, f"1 {POSE}\n2 {POSE}\n"))
