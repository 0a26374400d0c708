"""Accuracy of positions: absolute trajectory error after Sim(3) and SE(3) alignment, null error, relative error."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from evo.core import lie_algebra
from evo.core.geometry import GeometryException
from evo.core.metrics import APE, PoseRelation
from evo.core.trajectory import PoseTrajectory3D
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.eval.association import Samples, pairs_apart, sample_uniformly
from evslam.eval.rotation import (
    RELATIVE_DELTA_US,
    RELATIVE_STEP_US,
    absent,
    best_alignment,
    relative_errors_deg,
    rotations,
    statistics,
)
from evslam.geometry.trajectory import path_length
from evslam.types import Trajectory

MIN_PATH_M = 1e-3
_LINE_RATIO = 0.02


@dataclass(frozen=True)
class Alignment:
    """x_groundtruth = scale * rotation * x_estimate + translation (metres)."""

    rotation: Rotation
    translation: np.ndarray
    scale: float

    def apply(self, trajectory: Trajectory) -> Trajectory:
        """Bring a trajectory from the estimate's frame into the ground truth's."""
        position = self.scale * self.rotation.apply(trajectory.position) + self.translation
        quaternion = (self.rotation * rotations(trajectory)).as_quat()
        return Trajectory(trajectory.t_us, np.hstack([position, quaternion]))

    def apply_inverse(self, trajectory: Trajectory) -> Trajectory:
        """Bring a trajectory from the ground truth's frame into the estimate's."""
        back = self.rotation.inv()
        position = back.apply(trajectory.position - self.translation) / self.scale
        return Trajectory(trajectory.t_us, np.hstack([position, (back * rotations(trajectory)).as_quat()]))


def to_evo(trajectory: Trajectory) -> PoseTrajectory3D:
    """evo's form of a trajectory: quaternion w x y z, seconds."""
    return PoseTrajectory3D(trajectory.position, np.roll(trajectory.quaternion, 1, axis=1), trajectory.t_us / 1e6)


def spread(points: np.ndarray) -> np.ndarray:
    """(3,) RMS extents of (N, 3) points along their principal axes, largest first."""
    return np.linalg.svd(points - points.mean(0), compute_uv=False) / np.sqrt(len(points))


def align(samples: Samples, with_scale: bool) -> Alignment:
    """Least-squares alignment of the positions (Umeyama 1991, by evo).

    Positions on a line, or an estimate that stands still, leave a rotation free: it is then taken from the
    orientations. A scale is 1 where the estimate does not move.
    """
    estimate = to_evo(samples.estimate)
    try:
        rotation, translation, scale = copy.deepcopy(estimate).align(to_evo(samples.groundtruth), with_scale)
    except GeometryException:
        return _align_on_line(samples, with_scale)
    return Alignment(Rotation.from_matrix(rotation), translation, float(scale))


def _align_on_line(samples: Samples, with_scale: bool) -> Alignment:
    truth, estimate = samples.groundtruth.position, samples.estimate.position
    rotation = best_alignment(rotations(samples.groundtruth), rotations(samples.estimate))
    a, b = truth - truth.mean(0), rotation.apply(estimate - estimate.mean(0))
    energy = float(np.sum(b * b))
    scale = 1.0
    if energy > 0:
        direction_a, direction_b = np.linalg.svd(a)[2][0], np.linalg.svd(b)[2][0]
        direction_b = direction_b * np.sign((a @ direction_a) @ (b @ direction_b) or 1.0)
        turn, _ = Rotation.align_vectors(direction_a[None], direction_b[None])
        rotation = turn * rotation
        scale = float(np.sum(a * turn.apply(b))) / energy if with_scale else 1.0
    return Alignment(rotation, truth.mean(0) - scale * rotation.apply(estimate.mean(0)), scale)


def reason_without_position(mode: str, groundtruth: Trajectory) -> str | None:
    """Why figures on position make no sense for a run, or None when they do."""
    if mode == "rotation":
        return "rotation mode estimates no translation"
    length = path_length(groundtruth)
    if length < MIN_PATH_M:
        return f"the ground truth moves by {length * 1e3:.3f} mm only: no scale can be told"
    return None


def evaluate_position(samples: Samples, estimate: Trajectory, groundtruth: Trajectory) -> dict[str, Any]:
    """All figures on position.

    Args:
        samples: the associated samples, for the absolute errors.
        estimate, groundtruth: the whole trajectories, for the errors over 1 s and the path length.

    Returns:
        path_length_m, null, ate_sim3 (with scale and rotation), ate_se3, rpe_translation, rpe_rotation; every
        absolute figure also in percent of the ground truth's path over the window.
    """
    window = (groundtruth.t_us >= samples.t_us[0]) & (groundtruth.t_us <= samples.t_us[-1])
    path_m = path_length(Trajectory(groundtruth.t_us[window], groundtruth.poses[window]))
    truth = samples.groundtruth.position
    still = np.linalg.norm(truth - truth.mean(0), axis=1)
    null_protocol = f"motionless estimate at the mean ground-truth position, {samples.protocol}"
    figures: dict[str, Any] = {
        "path_length_m": path_m,
        "null": _in_percent(statistics(still, "m", null_protocol), path_m),
        "ate_se3": _absolute(samples, path_m, with_scale=False),
    }
    if spread(samples.estimate.position)[0] == 0:
        reason = "the estimate does not move: the scale of a Sim(3) alignment is undefined"
        return figures | {key: absent(reason) for key in ("ate_sim3", "rpe_translation", "rpe_rotation")}
    return figures | {"ate_sim3": _absolute(samples, path_m, True)} | _relative(samples, estimate, groundtruth)


def _absolute(samples: Samples, path_m: float, with_scale: bool) -> dict[str, Any]:
    alignment = align(samples, with_scale)
    pair = to_evo(samples.groundtruth), to_evo(alignment.apply(samples.estimate))
    name = "Sim(3)" if with_scale else "SE(3)"
    protocol = f"{name} alignment of all positions (Umeyama), whole trajectory, {samples.protocol}"
    translation, rotation = APE(PoseRelation.translation_part), APE(PoseRelation.rotation_angle_deg)
    for metric in (translation, rotation):
        metric.process_data(pair)
    figures = _in_percent(statistics(translation.error, "m", protocol), path_m)
    turned = statistics(rotation.error, "deg", protocol)
    extents = spread(samples.groundtruth.position)
    if extents[1] < _LINE_RATIO * extents[0]:
        turned = absent(
            "the positions lie on a line, which leaves a rotation about it free: see rotation.absolute_best"
        )
    return figures | {"rotation": turned} | ({"scale": alignment.scale} if with_scale else {})


def _in_percent(figures: dict[str, Any], path_m: float) -> dict[str, Any]:
    rmse = figures["rmse"]
    return figures | {"rmse_percent_of_path": 100 * rmse / path_m if rmse is not None and path_m > 0 else None}


def _relative(samples: Samples, estimate: Trajectory, groundtruth: Trajectory) -> dict[str, Any]:
    protocol = "motion over 1 s, every 0.1 s, estimate scaled by the Sim(3) alignment"
    alignment = align(samples, with_scale=True)
    try:
        uniform = sample_uniformly(alignment.apply(estimate), groundtruth, RELATIVE_STEP_US)
    except DataError as error:
        return {"rpe_translation": absent(str(error)), "rpe_rotation": absent(str(error))}
    return {
        "rpe_translation": statistics(relative_translation_errors(uniform), "m", protocol),
        "rpe_rotation": statistics(relative_errors_deg(uniform), "deg", protocol),
    }


def relative_translation_errors(samples: Samples, delta_us: int = RELATIVE_DELTA_US) -> np.ndarray:
    """(M,) translation errors in metres of the motion over `delta_us` (evo's RPE, also across tracking losses)."""
    i, j = pairs_apart(samples.t_us, delta_us)
    truth, estimate = to_evo(samples.groundtruth).poses_se3, to_evo(samples.estimate).poses_se3
    errors = [
        lie_algebra.relative_se3(
            lie_algebra.relative_se3(truth[a], truth[b]), lie_algebra.relative_se3(estimate[a], estimate[b])
        )[:3, 3]
        for a, b in zip(i, j, strict=True)
    ]
    return np.linalg.norm(np.reshape(errors, (-1, 3)), axis=1)
