"""Accuracy figures against answers known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evo.core.metrics import RPE, PoseRelation, Unit
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.eval.association import Samples, associate, covered_seconds
from evslam.eval.evaluate import evaluate, evaluate_run
from evslam.eval.position import relative_translation_errors, to_evo
from evslam.eval.rotation import relative_errors_deg, rotations
from evslam.geometry.trajectory import interpolate
from evslam.types import Trajectory

MakeRun = Callable[..., Path]
TURN = Rotation.from_rotvec([0.4, -1.1, 0.7])


def part(trajectory: Trajectory, keep: np.ndarray | slice) -> Trajectory:
    return Trajectory(trajectory.t_us[keep], trajectory.poses[keep])


def moved(trajectory: Trajectory, scale: float = 1.0) -> Trajectory:
    """The trajectory seen from another world frame: x' = scale R x + t."""
    position = scale * TURN.apply(trajectory.position) + [3.0, -2.0, 1.0]
    return Trajectory(trajectory.t_us, np.hstack([position, (TURN * rotations(trajectory)).as_quat()]))


def turned(trajectory: Trajectory, rotation: Rotation) -> Trajectory:
    return Trajectory(trajectory.t_us, np.hstack([trajectory.position, rotation.as_quat()]))


def test_a_known_sim3_is_recovered(truth: Trajectory, make_run: MakeRun) -> None:
    figures = evaluate_run(make_run(moved(part(truth, slice(None, None, 4)), scale=0.4)))
    position, rotation = figures["position"], figures["rotation"]
    assert position["ate_sim3"]["scale"] == pytest.approx(2.5, rel=1e-6)
    assert position["ate_sim3"]["rmse"] < 1e-6
    assert position["ate_sim3"]["rotation"]["rmse"] < 1e-4
    assert position["rpe_translation"]["rmse"] < 1e-3
    assert rotation["absolute_best"]["rmse"] < 0.05
    assert rotation["time_shift"]["shift_ms"] == pytest.approx(0, abs=0.05)
    assert figures["coverage"]["percent"] == pytest.approx(100, abs=0.5)
    # Without the scale the error is what shrinking to 40 % about the mean leaves.
    spread = np.sqrt(np.mean(np.sum((truth.position - truth.position.mean(0)) ** 2, axis=1)))
    assert position["ate_se3"]["rmse"] == pytest.approx(0.6 * spread, rel=1e-2)


def test_null_error_is_the_spread_of_the_ground_truth(truth: Trajectory, make_run: MakeRun) -> None:
    position = evaluate_run(make_run(moved(truth)))["position"]
    spread = np.sqrt(np.mean(np.sum((truth.position - truth.position.mean(0)) ** 2, axis=1)))
    path = np.linalg.norm(np.diff(truth.position, axis=0), axis=1).sum()
    assert position["null"]["rmse"] == pytest.approx(spread, rel=1e-6)
    assert position["path_length_m"] == pytest.approx(path, rel=1e-6)
    assert position["null"]["rmse_percent_of_path"] == pytest.approx(100 * spread / path, rel=1e-6)


def test_position_noise_is_the_error(truth: Trajectory, make_run: MakeRun) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal((len(truth), 3))
    noisy = Trajectory(truth.t_us, np.hstack([truth.position + noise, truth.quaternion]))
    position = evaluate_run(make_run(noisy))["position"]
    assert position["ate_sim3"]["rmse"] == pytest.approx(0.01 * np.sqrt(3), rel=0.05)
    assert position["rpe_translation"]["rmse"] == pytest.approx(0.01 * np.sqrt(6), rel=0.15)


def test_a_constant_rotation_offset_shows_where_it_must(truth: Trajectory, make_run: MakeRun) -> None:
    """The world is turned by 3 degrees from 2 s on: seen from the start, and over the seconds around 2 s."""
    wrong = Rotation.from_rotvec(np.where(truth.t_us[:, None] >= 2_000_000, np.radians([3.0, 0, 0]), 0.0))
    rotation = evaluate_run(make_run(turned(truth, wrong * rotations(truth)), mode="rotation"))["rotation"]
    assert rotation["absolute_start"]["max"] == pytest.approx(3.0, abs=1e-6)
    assert rotation["absolute_start"]["median"] == pytest.approx(3.0, abs=1e-6)
    late = np.mean(np.arange(0.1, 5.99, 0.02) >= 2.0)
    assert rotation["absolute_start"]["rmse"] == pytest.approx(3.0 * np.sqrt(late), rel=0.01)
    assert rotation["relative"]["max"] == pytest.approx(3.0, abs=1e-6)
    assert rotation["relative"]["median"] < 1e-6


def test_a_rate_off_by_one_percent_gives_the_relative_error(make_run: MakeRun) -> None:
    t_us = np.arange(0, 6_000_000, 5_000)
    turns = [Rotation.from_rotvec(rate * t_us[:, None] / 1e6 * [0.0, 0.0, 1.0]) for rate in (0.8, 0.808)]
    truth, estimate = (turned(Trajectory(t_us, np.zeros((len(t_us), 7))), turn) for turn in turns)
    figures = evaluate_run(make_run(estimate, truth, mode="rotation"))
    assert figures["rotation"]["relative"]["rmse"] == pytest.approx(np.degrees(0.008), rel=1e-6)
    times = np.arange(0, 5.88, 0.02)
    expected = np.degrees(0.008) * np.sqrt(np.mean(times**2))
    assert figures["rotation"]["absolute_start"]["rmse"] == pytest.approx(expected, rel=1e-2)
    assert figures["position"]["reason"] == "rotation mode estimates no translation"


def test_start_of_the_absolute_error_can_be_chosen(truth: Trajectory, make_run: MakeRun) -> None:
    """An error that ends before t0 does not count."""
    wrong = Rotation.from_rotvec(np.where(truth.t_us[:, None] < 900_000, np.radians([3.0, 0, 0]), 0.0))
    run_dir = make_run(turned(truth, rotations(truth) * wrong), mode="rotation")
    assert evaluate_run(run_dir, t0_s=1.0)["rotation"]["absolute_start"]["rmse"] < 1e-6
    assert evaluate_run(run_dir)["rotation"]["absolute_start"]["rmse"] > 2.0
    assert "less than t0" in evaluate_run(run_dir, t0_s=10.0)["rotation"]["absolute_start"]["reason"]


def test_a_time_shift_is_found(truth: Trajectory, make_run: MakeRun) -> None:
    """Poses of 2.4 ms earlier under each stamp: the stamps must be moved back."""
    times = truth.t_us[20:-20:2]
    late = Trajectory(times, interpolate(truth, times - 2_400))
    shift = evaluate_run(make_run(late))["rotation"]["time_shift"]
    assert shift["shift_ms"] == pytest.approx(-2.4, abs=0.1)
    assert shift["rmse"] < 0.01


def test_the_sparser_trajectory_gives_the_times(truth: Trajectory) -> None:
    sparse = part(truth, slice(3, None, 40))
    assert np.array_equal(associate(sparse, truth).t_us, sparse.t_us)
    samples = associate(truth, sparse)
    assert np.array_equal(samples.t_us, sparse.t_us)
    np.testing.assert_allclose(samples.estimate.poses, sparse.poses, atol=1e-12)


def test_relative_errors_agree_with_evo(truth: Trajectory) -> None:
    uniform = part(truth, slice(None, None, 20))
    noise = 0.02 * np.random.default_rng(1).standard_normal((len(uniform), 6))
    orientation = rotations(uniform) * Rotation.from_rotvec(noise[:, 3:])
    estimate = Trajectory(uniform.t_us, np.hstack([uniform.position + noise[:, :3], orientation.as_quat()]))
    samples = Samples(estimate, uniform, "")
    for relation, ours in (
        (PoseRelation.translation_part, relative_translation_errors(samples)),
        (PoseRelation.rotation_angle_deg, relative_errors_deg(samples)),
    ):
        theirs = RPE(relation, delta=10, delta_unit=Unit.frames, all_pairs=True)
        theirs.process_data((to_evo(uniform), to_evo(estimate)))
        np.testing.assert_allclose(ours, theirs.error, atol=1e-9)


def test_pauses_count_as_lost_and_are_not_interpolated(truth: Trajectory, make_run: MakeRun) -> None:
    lost = (truth.t_us > 1_000_000) & (truth.t_us < 2_500_000)
    estimate = part(truth, ~lost)
    assert covered_seconds(estimate, 0, 6_000_000) == pytest.approx(4.5, abs=0.011)
    figures = evaluate_run(make_run(estimate))
    assert figures["coverage"]["percent"] == pytest.approx(75, abs=0.2)
    assert figures["rotation"]["absolute_best"]["rmse"] < 1e-5


def test_motion_on_a_line_is_aligned(make_run: MakeRun) -> None:
    """A slider: exact rank one, where Umeyama's rotation is not unique."""
    t_us = np.arange(0, 3_000_000, 10_000)
    poses = np.zeros((len(t_us), 7))
    poses[:, 0], poses[:, 6] = 0.2 * np.sin(t_us / 1e6), 1.0
    line = Trajectory(t_us, poses)
    position = evaluate_run(make_run(moved(line, 2.0), line))["position"]
    assert position["ate_sim3"]["rmse"] < 1e-6
    assert position["ate_sim3"]["scale"] == pytest.approx(0.5, rel=1e-6)
    assert "line" in position["ate_sim3"]["rotation"]["reason"]


def test_degenerate_motion_has_reasons_instead_of_figures(truth: Trajectory, make_run: MakeRun) -> None:
    still = Trajectory(truth.t_us, np.hstack([np.zeros((len(truth), 3)), truth.quaternion]))
    position = evaluate_run(make_run(still))["position"]
    assert position["ate_sim3"]["rmse"] is None
    assert "scale" in position["ate_sim3"]["reason"]
    assert position["ate_se3"]["rmse"] == pytest.approx(position["null"]["rmse"])


def test_ground_truth_without_motion_has_no_position_figures(truth: Trajectory, make_run: MakeRun) -> None:
    still = Trajectory(truth.t_us, np.hstack([np.zeros((len(truth), 3)), truth.quaternion]))
    figures = evaluate_run(make_run(truth, still))
    assert "0.000 mm" in figures["position"]["reason"]
    assert figures["rotation"]["absolute_best"]["rmse"] < 1e-5


def test_velocities_of_tracked_batches_are_compared(truth: Trajectory, make_run: MakeRun) -> None:
    run_dir = make_run(truth)
    inner = np.arange(10, len(truth) - 10, 10)
    turn = rotations(truth)
    omega = (turn[inner - 1].inv() * turn[inner + 1]).as_rotvec() / 0.01 * 1.01
    v = turn[inner].inv().apply(truth.position[inner + 1] - truth.position[inner - 1]) * 7
    lines = ["t_ref_us,vx,vy,vz,wx,wy,wz,state,contrast,evaluations,num_events"]
    for k, i in enumerate(inner):
        lines.append(",".join(map(str, [truth.t_us[i], *v[k], *omega[k], "tracking", 1.5, 8, 1000])))
    lines.append(",".join(map(str, [truth.t_us[500], *[99.0] * 6, "starting", 1.5, 8, 1000])))  # does not count
    (run_dir / "batches.csv").write_text("\n".join(lines) + "\n")
    figures = evaluate_run(run_dir)
    rate, null = (figures["velocity"][name]["rmse"] for name in ("angular_velocity", "angular_velocity_null"))
    assert rate == pytest.approx(0.01 * null, rel=0.02)
    assert figures["velocity"]["direction"]["max"] < 0.5
    assert figures["velocity"]["angular_velocity"]["samples"] == len(inner)


def test_errors_say_what_to_do(truth: Trajectory, make_run: MakeRun, tmp_path: Path) -> None:
    run_dir = make_run(part(truth, slice(0, 2)))
    with pytest.raises(DataError, match=r"holds 2 poses, at least 3 .* run\.log"):
        evaluate_run(run_dir)
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist: give another with --groundtruth FILE"):
        evaluate_run(run_dir, tmp_path / "nowhere.txt")
    (run_dir / "trajectory.txt").unlink()
    with pytest.raises(DataError, match="tracked nothing or was stopped early"):
        evaluate_run(run_dir)
    (tmp_path / "groundtruth.txt").write_text("t x y\n")
    with pytest.raises(DataError, match=r"groundtruth\.txt"):
        evaluate_run(run_dir)
    with pytest.raises(DataError, match="give the folder that `evslam run` wrote"):
        evaluate_run(tmp_path)


def test_missing_ground_truth_names_the_option(truth: Trajectory, make_run: MakeRun) -> None:
    with pytest.raises(DataError, match="no ground truth: give one with --groundtruth FILE"):
        evaluate_run(make_run(truth, groundtruth=None, recording=None))


def test_disjoint_times_are_shown(truth: Trajectory, make_run: MakeRun) -> None:
    later = Trajectory(truth.t_us + 100_000_000, truth.poses)
    with pytest.raises(DataError, match=r"100\.000000-105\.995000 s and 0\.000000-5\.995000 s.*clock"):
        evaluate(make_run(later))
