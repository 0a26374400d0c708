"""What a gyroscope adds to a start: hypotheses with its rotation, and a check of the rotation of every solution."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.multiview.two_view import linear_direction
from evslam.tracking.gyro import Gyro
from evslam.tracking.horizon import Turns
from evslam.tracking.start import Candidate
from evslam.types import PointFrame

_SAMPLES = 200
_SCALE_PX = 2.0  # of the robust cost of a direction
_ANGLE_SIGMA = np.radians(0.3)  # rad, of the rotation between two frames by their points
_GYRO_SIGMA = 0.001  # rad, of the gyroscope's turn but for its bias
_BIAS_SIGMA = 0.012  # rad/s, of a bias that nothing has told yet
_LEAST_BIAS_SIGMA = 0.003  # rad/s, of one that was learnt for long
_POINT_PX = 1.0  # error of an observed point, for the weights
_MOST = 3.0  # standard deviations by which a solution may turn otherwise than the gyroscope


def turned_hypotheses(
    bearing_a: np.ndarray, bearing_b: np.ndarray, R_b_a: np.ndarray, focal: float, seed: int = 0
) -> list[np.ndarray]:
    """Relative poses T_b_a (4, 4) with a known rotation; the translation has length 1.

    Its direction lies in the planes of both rays of every point: two points tell one. The sampled direction that suits
    most points, and the robust least squares over all of them, each with both signs.

    Args:
        bearing_a, bearing_b: (N, 2) undistorted (X / Z, Y / Z) of the same points, N >= 2.
        R_b_a: (3, 3).
        focal: pixels per unit of bearing.
        seed: of the samples.
    """
    sampled = sampled_direction(bearing_a, bearing_b, R_b_a, focal, seed)
    directions = (sampled, linear_direction(R_b_a, bearing_a, bearing_b, focal))
    poses = []
    for direction in directions:
        for sign in (1.0, -1.0):
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = R_b_a, sign * direction / np.linalg.norm(direction)
            poses.append(pose)
    return poses


def sampled_direction(
    bearing_a: np.ndarray, bearing_b: np.ndarray, R_b_a: np.ndarray, focal: float, seed: int = 0
) -> np.ndarray:
    """Direction (3,) of the translation, up to sign, of the two points that most others agree with.

    See `turned_hypotheses` for the arguments.
    """
    a, b = (np.column_stack([each, np.ones(len(each))]) for each in (bearing_a, bearing_b))
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a @ R_b_a.T, b))
    normal = np.cross(b, a)
    pairs = np.random.default_rng(seed).integers(0, len(a), (2, _SAMPLES))
    tried = np.cross(normal[pairs[0]], normal[pairs[1]])
    length = np.linalg.norm(tried, axis=1)
    tried = tried[length > 0] / length[length > 0, None]
    if not len(tried):
        return np.array([1.0, 0.0, 0.0])
    error = focal * np.abs(tried @ normal.T)
    return np.asarray(tried[int(np.argmin(np.log1p((error / _SCALE_PX) ** 2).sum(1)))])


def turns_of(frames: list[PointFrame], gyro: Gyro, focal: float) -> Turns | None:
    """How the gyroscope has the frames turned against the first one; None where it does not cover them.

    Weights follow from the standard deviation of an angle, in which the unknown bias grows with time.

    Args:
        focal: pixels per unit of bearing.
    """
    turns = [np.eye(3)]
    for frame in frames[1:]:
        turn = gyro.turn(frames[0].t_us, frame.t_us)
        if turn is None:
            return None
        turns.append(turn.T)
    seconds = (np.array([frame.t_us for frame in frames]) - frames[0].t_us) * 1e-6
    sigma_px = focal * np.hypot(_GYRO_SIGMA, _bias_sigma(gyro) * seconds)
    return Turns(np.stack(turns), (_POINT_PX / sigma_px) ** 2)


def turning_alike(candidates: list[Candidate], gyro: Gyro) -> list[Candidate]:
    """The candidates whose rotation from the first frame to the last the gyroscope confirms, or does not cover."""
    kept = []
    for candidate in candidates:
        first, last = candidate.sightings.frames[0].t_us, candidate.sightings.frames[-1].t_us
        turn = gyro.turn(first, last)
        if turn is not None:
            apart = Rotation.from_matrix(candidate.T_cam_world[-1, :3, :3] @ turn).magnitude()
            sigma = np.hypot(_ANGLE_SIGMA, _bias_sigma(gyro) * (last - first) * 1e-6)
            if apart > _MOST * sigma:
                continue
        kept.append(candidate)
    return kept


def _bias_sigma(gyro: Gyro) -> float:
    """Of the bias, rad/s: what was learnt over a time is as sure as an angle over that time."""
    learnt = gyro.known_s / _ANGLE_SIGMA
    return max(float((_BIAS_SIGMA**-2 + learnt**2) ** -0.5), _LEAST_BIAS_SIGMA)
