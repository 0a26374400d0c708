"""Ground truth in every form, in every unit and frame; what is refused, and which mistakes are named."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pose_files import hand_held, m3ed, matrices, mvsec, rates, text
from scipy.spatial.transform import Rotation

from evslam.errors import CalibrationError, DataError
from evslam.io.groundtruth import GroundTruth, PoseOptions, load_groundtruth
from evslam.io.pose_checks import compare_with_rates, unexplained_share
from evslam.io.transforms import compose, invert, parse_transform
from evslam.types import Trajectory

TRUTH = hand_held()
SPAN = (1_000_000, 5_000_000)
EUROC = (
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], "
    "v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1]"
)


def write(tmp_path: Path, content: str, name: str = "groundtruth.txt") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


def assert_truth(truth: GroundTruth, expected: Trajectory = TRUTH) -> None:
    assert truth.trajectory.t_us.tolist() == expected.t_us.tolist()
    np.testing.assert_allclose(truth.trajectory.position, expected.position, atol=1e-9)
    turn = Rotation.from_quat(truth.trajectory.quaternion).inv() * Rotation.from_quat(expected.quaternion)
    assert turn.magnitude().max() < 1e-8


@pytest.mark.parametrize(
    "content",
    [
        text(TRUTH),
        text(TRUTH, header="# timestamp tx ty tz qx qy qz qw"),
        text(TRUTH, header="# time[s] px py pz qw qx qy qz", order="wxyz"),
        text(TRUTH, header="#timestamp[us] px py pz qx qy qz qw", scale=1),
        text(TRUTH, header="t_ns,x,y,z,qx,qy,qz,qw", scale=1000, separator=","),
        text(TRUTH, header="# ground truth\n# made by hand", separator="  "),
        text(TRUTH, separator=", "),
        "\n".join([EUROC, *(f"{line.strip()},1,2,3" for line in text(TRUTH, 1000, "wxyz", ",").splitlines())]),
    ],
    ids=["tum", "header", "w first by header", "microseconds", "csv ns", "comments", "csv", "euroc"],
)
def test_text_forms(tmp_path: Path, content: str) -> None:
    truth = load_groundtruth(write(tmp_path, content), span_us=SPAN)
    assert_truth(truth)
    assert truth.findings == ()


def test_kitti_with_times(tmp_path: Path) -> None:
    rows = matrices(TRUTH)[:, :3].reshape(-1, 12)
    path = write(tmp_path, "\n".join(" ".join(f"{value:.12g}" for value in row) for row in rows), "00.txt")
    times = write(tmp_path, "\n".join(f"{t * 1e-6:.6f}" for t in TRUTH.t_us), "times.txt")
    assert_truth(load_groundtruth(path, PoseOptions(times=times)))
    assert_truth(load_groundtruth(write(tmp_path, text(TRUTH)), PoseOptions(times=tmp_path / "not needed")))
    with pytest.raises(DataError, match=r"00.txt: KITTI poses have no times; .* --gt-times FILE"):
        load_groundtruth(path)
    with pytest.raises(DataError, match=r"times.txt: 2 times for 800 poses in 00.txt; give one per line"):
        load_groundtruth(path, PoseOptions(times=write(tmp_path, "0 1", "times.txt")))
    with pytest.raises(DataError, match=r"times.txt: could not convert string to float: 'one'; give one time per line"):
        load_groundtruth(path, PoseOptions(times=write(tmp_path, "one", "times.txt")))


@pytest.mark.parametrize(
    "arrays",
    [
        {"t_us": TRUTH.t_us, "poses": TRUTH.poses},
        {"t": TRUTH.t_us * 1e-6, "T_world_cam": matrices(TRUTH)},
        {"timestamps": TRUTH.t_us, "poses": matrices(TRUTH)[:, :3]},
    ],
)
def test_npz(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "truth.npz", **arrays)  # type: ignore[arg-type]
    assert_truth(load_groundtruth(tmp_path / "truth.npz"))


def test_mvsec_and_m3ed(tmp_path: Path) -> None:
    assert_truth(load_groundtruth(mvsec(tmp_path / "indoor_flying1_gt.hdf5", TRUTH)))
    truth = load_groundtruth(m3ed(tmp_path / "car_pose_gt.h5", TRUTH))
    assert_truth(truth)
    assert truth.findings == ()


def test_hand_eye_offset_order_and_inverse(tmp_path: Path) -> None:
    T_body_cam = parse_transform("0.1 -0.2 0.3 0 0 0.6 0.8")
    T_world_body = compose(TRUTH.poses, invert(T_body_cam))
    body = Trajectory(TRUTH.t_us - 250_000, T_world_body)
    assert_truth(
        load_groundtruth(write(tmp_path, text(body)), PoseOptions(T_body_cam=tuple(T_body_cam), offset_s=0.25))
    )
    backwards = Trajectory(TRUTH.t_us, invert(TRUTH.poses))
    path = write(tmp_path, text(backwards, 0.001, "wxyz"))
    assert_truth(load_groundtruth(path, PoseOptions(unit="ms", order="wxyz", inverse=True)))


def test_transforms_from_files(tmp_path: Path) -> None:
    pose = parse_transform("1 2 3 0 0.6 0 0.8")
    rows = np.vstack([matrices(Trajectory(np.array([0]), pose[None]))[0]]).tolist()
    path = write(
        tmp_path, f"cam0:\n  T_cam_imu: {rows}\n  list: [{{px: 1, py: 2, pz: 3, qx: 0, qy: 0.6, qz: 0, qw: 0.8}}]\n"
    )
    np.testing.assert_allclose(parse_transform(f"{path}#cam0.T_cam_imu"), pose, atol=1e-12)
    np.testing.assert_allclose(parse_transform(f"inverse {path}#cam0.list.0"), invert(pose), atol=1e-12)
    np.testing.assert_allclose(compose(pose, invert(pose))[0], [0, 0, 0, 0, 0, 0, 1], atol=1e-12)
    for wrong, fact in (
        ("1 2 3", "has 3 words; give"),
        ("1 2 3 0 0 0 2", "7 numbers that are no transform; give"),
        (f"{path}#cam0.T_imu_cam", "no key 'T_imu_cam' of 'cam0.T_imu_cam'; there is: T_cam_imu, list; give"),
        (f"{path}#cam0", "no transform; give"),
    ):
        with pytest.raises(CalibrationError) as caught:
            parse_transform(wrong)
        assert fact in str(caught.value)


@pytest.mark.parametrize(("scale", "unit"), [(0.001, "milliseconds"), (1, "microseconds"), (1000, "nanoseconds")])
@pytest.mark.parametrize("span", [SPAN, None])
def test_wrong_units_are_named(tmp_path: Path, scale: float, unit: str, span: tuple[int, int] | None) -> None:
    path = write(tmp_path, text(TRUTH, scale))
    with pytest.raises(DataError, match=rf"evidently no seconds but {unit}; give --gt-unit (ms|us|ns) or convert"):
        load_groundtruth(path, span_us=span)


def test_declared_unit_is_proved_wrong_by_the_events_alone(tmp_path: Path) -> None:
    path = write(tmp_path, text(TRUTH, 1, header="# t[ns] px py pz qx qy qz qw"))
    assert len(load_groundtruth(path).trajectory) > 1
    with pytest.raises(DataError, match="evidently no nanoseconds but microseconds"):
        load_groundtruth(path, span_us=SPAN)


def test_no_common_time_is_a_finding(tmp_path: Path) -> None:
    findings = load_groundtruth(write(tmp_path, text(TRUTH)), span_us=(9_000_000, 10_000_000)).findings
    assert findings == (
        "ground truth (1.000 to 4.995 s) and events (9.000 to 10.000 s) share no time; shift it with --gt-offset S",
    )


@pytest.mark.parametrize(("w_first", "inverse"), [(True, False), (False, True)])
def test_wrong_readings_are_named_by_a_gyroscope(w_first: bool, inverse: bool) -> None:
    t_us, measured = rates(TRUTH)
    assert unexplained_share(TRUTH, t_us, measured, inverse=False) < 1e-6
    assert compare_with_rates(TRUTH, t_us, measured, "the gyroscope") == []
    poses = invert(TRUTH.poses) if inverse else TRUTH.poses
    misread = Trajectory(TRUTH.t_us, poses[:, [0, 1, 2, 6, 3, 4, 5]] if w_first else poses)
    (finding,) = compare_with_rates(misread, t_us, measured, "the gyroscope")
    assert finding.startswith("the gyroscope disagrees with the ground truth's rotation (26 % unexplained)")
    assert finding.endswith(
        "agrees with its inverse (0 %): its poses map the world to the camera, or w stands first "
        "in its quaternions; give --gt-inverse or --gt-order wxyz"
    )


def test_rates_of_a_camera_at_rest_prove_nothing() -> None:
    still = Trajectory(TRUTH.t_us, np.tile(TRUTH.poses[:1], (len(TRUTH), 1)))
    t_us, measured = rates(still)
    assert np.isnan(unexplained_share(still, t_us, measured, inverse=False))
    assert compare_with_rates(still, t_us, measured, "the gyroscope") == []
    assert compare_with_rates(TRUTH, t_us + 10**9, measured, "the gyroscope") == []


def test_suspicions_without_a_witness(tmp_path: Path) -> None:
    first = Rotation.from_quat(TRUTH.quaternion[0]).inv()
    turned = Trajectory(
        TRUTH.t_us, np.hstack([TRUTH.position, (first * Rotation.from_quat(TRUTH.quaternion)).as_quat()])
    )
    findings = load_groundtruth(write(tmp_path, text(turned, order="wxyz"))).findings
    assert len(findings) == 1
    assert "half turn about x, or no turn if w stands first; if so: --gt-order wxyz" in findings[0]
    inverted = Trajectory(TRUTH.t_us, invert(TRUTH.poses * [0.05, 0.05, 0.05, 1, 1, 1, 1] + [2, 0, 0, 0, 0, 0, 0]))
    (finding,) = load_groundtruth(write(tmp_path, text(inverted))).findings
    assert "map the world to the camera; if so: --gt-inverse" in finding


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("", "holds no poses, lines t px py pz qx qy qz qw are expected"),
        ("0 1 2 3 0 0 0 1\n", "1 poses where at least 2 are needed"),
        ("0 1 2 3 0 0 0 1\n0 1 2 3 0 0 0 1\n", "1 different times where at least 2 are needed"),
        ("0 1 2 3 0 0 0\n1 1 2 3 0 0 0\n", "line 1: 7 columns where 8 are expected"),
        ("0 1 2 3 0 0 0 1\n1 1 2 3 0 0 0\n", "line 2: 7 columns where 8 are expected; correct the line"),
        ("0 1 2 3 0 0 0 1\n1 1 2 x 0 0 0 1\n", "line 2: column 4 is 'x', not a number; correct or remove"),
        ("0 1 2 3 0 0 0 1\n1 nan 2 3 0 0 0 1\n", "line 2: column 2 is 'nan', not finite; correct or remove"),
        ("0 1 2 3 0 0 0 1\n1 1e200 2 3 0 0 0 1\n", "line 2: column 2 is '1e200', not finite; correct or remove"),
        ("0 1 2 3 0 0 0 1\n# late\n1 1 2 3 0 0 0 9\n", "line 3: quaternion has norm 9 instead of 1; columns must be"),
        ("0 0 0 0 1 1 2 3\n1 0 0 0 1 1 2 3\n", "the quaternion stands before the position"),
        ("1 1 2 3 0 0 0 1\n0.5 1 2 3 0 0 0 1\n", "line 2: time goes back from 1.000000 s to 0.500000 s; sort"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 9 0\n", "line 2: no rotation matrix (R'R is off by 80)"),
    ],
)
def test_refused_content(tmp_path: Path, content: str, fact: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        load_groundtruth(path)
    assert str(caught.value).startswith(f"{path}")
    assert fact in str(caught.value)


def test_refused_archives(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    for arrays, fact in (
        ({"poses": TRUTH.poses}, "no array t_us or t with the times; there are poses; add it"),
        ({"t": TRUTH.t_us[:5], "poses": TRUTH.poses}, r"times of shape \(5,\) for 800 poses; one time per pose"),
        ({"t": TRUTH.t_us, "poses": TRUTH.poses[:, :3]}, r"array poses has shape \(800, 3\); \(N, 4, 4\) matrices or"),
        ({"t": np.array([None, 1]), "poses": TRUTH.poses}, "not a readable NPZ file"),
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=fact):
            load_groundtruth(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="not a readable NPZ file"):
        load_groundtruth(path)
    mvsec(tmp_path / "gt.hdf5", TRUTH)
    content = (tmp_path / "gt.hdf5").read_bytes()
    (tmp_path / "gt.hdf5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"gt.hdf5: poses cannot be read \(.*\); copy it again"):
        load_groundtruth(tmp_path / "gt.hdf5")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 3), st.integers(0, 2000), st.binary(min_size=0, max_size=5))
def test_mutated_files_never_crash(tmp_path: Path, which: int, position: int, replacement: bytes) -> None:
    few = hand_held(12)
    forms = [text(few), text(few, 1000, "wxyz", ",", "t_ns,x,y,z,qw,qx,qy,qz"), text(few, separator=","), EUROC]
    content = forms[which].encode()
    position %= len(content)
    path = tmp_path / "groundtruth.txt"
    path.write_bytes(content[:position] + replacement + content[position + len(replacement) :])
    with contextlib.suppress(DataError):
        load_groundtruth(path)
