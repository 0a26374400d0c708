"""Figures of 6-DoF runs beyond `evaluate`: the online estimate, drift of the scale, whether the start was right."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.eval.association import Samples, associate
from evslam.eval.position import Alignment, align, evaluate_position
from evslam.eval.rotation import absent
from evslam.types import Trajectory

START_S = 3.0  # after the first pose: the part that tells a right start from a wrong one
RIGHT_SHARE = 0.25  # of the null error, below which an estimate counts as one
_STRIDE_S = 0.3
_MIN_SAMPLES = 10


def position_error(estimate: Trajectory, truth: Trajectory) -> dict[str, Any]:
    """Path, null and absolute errors of an estimate over the time it shares with the truth, as `evaluate_position`.

    Returns the reason instead where the two cannot be compared.
    """
    try:
        return evaluate_position(associate(estimate, truth), estimate, truth)
    except DataError as error:
        return absent(str(error))


def is_right(position: dict[str, Any]) -> bool:
    """Whether the error of positions after Sim(3) alignment is below a quarter of the null error."""
    error = (position.get("ate_sim3") or {}).get("rmse")
    return error is not None and bool(error < RIGHT_SHARE * position["null"]["rmse"])


def judge_start(online: Trajectory, truth: Trajectory, start_us: int) -> dict[str, Any]:
    """How long the first pose took and whether the first seconds after it are right.

    Args:
        online: poses as they were told while the run went on.
        truth: ground truth.
        start_us: begin of the run.

    Returns:
        wait_s (None: there never was a pose), right, and the errors in percent of null.
    """
    if not len(online):
        return {"wait_s": None, "right": None, "percent_of_null": None}
    first = online.t_us[0]
    part = online.t_us <= first + round(START_S * 1e6)
    position = position_error(Trajectory(online.t_us[part], online.poses[part]), truth)
    error = (position.get("ate_sim3") or {}).get("rmse")
    null = position["null"]["rmse"]
    share = 100 * error / null if error is not None and null else None  # a camera that turns only has no null
    return {"wait_s": float(first - start_us) * 1e-6, "right": is_right(position), "percent_of_null": share}


def scale_of_quarters(estimate: Trajectory, truth: Trajectory) -> np.ndarray | None:
    """(4,) metres per unit of the estimate in the quarters of the common time, from displacements over 0.3 s.

    None where the estimate is too short or does not move.
    """
    samples = associate(estimate, truth)
    step = max(3, round(_STRIDE_S * 1e6 / float(np.median(np.diff(samples.t_us)))))
    if len(samples) < step + _MIN_SAMPLES:
        return None
    moved = [np.linalg.norm(p[step:] - p[:-step], axis=1) for p in _positions(samples)]
    sums = [[part.sum() for part in np.array_split(each, 4)] for each in moved]
    return np.array(sums[1]) / sums[0] if min(sums[0]) > 0 else None


def scale_figures(estimate: Trajectory, truth: Trajectory) -> dict[str, Any]:
    """Drift of the scale, and the error after SE(3) alignment with the scale that the first quarter has.

    Returns:
        quarters: scale of each against the first; drift_percent: largest over smallest, less one;
        ate_se3_percent_of_path. The reason instead where there is no scale.
    """
    try:
        scales = scale_of_quarters(estimate, truth)
    except DataError as error:
        return absent(str(error))
    if scales is None:
        return absent("the estimate is too short or does not move")
    scaled = Alignment(Rotation.identity(), np.zeros(3), float(scales[0])).apply(estimate)
    samples = associate(scaled, truth)
    aligned = align(samples, with_scale=False).apply(samples.estimate)
    apart = np.linalg.norm(aligned.position - samples.groundtruth.position, axis=1)
    path = float(np.linalg.norm(np.diff(samples.groundtruth.position, axis=0), axis=1).sum())
    return {
        "quarters": (scales / scales[0]).tolist(),
        "drift_percent": 100 * float(scales.max() / scales.min() - 1),
        "ate_se3_percent_of_path": 100 * float(np.sqrt(np.mean(apart**2))) / path,
    }


def _positions(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    return samples.estimate.position, samples.groundtruth.position
