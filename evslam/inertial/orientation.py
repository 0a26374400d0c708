"""Orientation from gyroscope and trajectory together: quick turns by the one, slow ones by the other."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from evslam.geometry.spline import RotationSpline
from evslam.geometry.turning import turned

_OUTLIER = 4.0  # times the median deviation
_DEGREE = 3


def fuse_orientation(
    t: np.ndarray, rotation: Rotation, samples: np.ndarray, omega: np.ndarray, knot_s: float
) -> Rotation:
    """Rotations R_world_cam at the times of the gyroscope.

    The gyroscope's integral is turned from the left by a smooth rotation that makes it follow the trajectory; poses far
    from that are left out in a second fit.

    Args:
        t: (N,) seconds of the trajectory, N >= 2, increasing.
        rotation: N rotations R_world_cam.
        samples: (M,) seconds of the gyroscope, which cover t.
        omega: (M, 3) rad/s in camera axes, without bias.
        knot_s: seconds between the knots of the smooth rotation: what is slower the trajectory decides.
    """
    integral = turned(samples, omega)
    apart = rotation * Slerp(samples, integral)(t).inv()
    count = max(round((t[-1] - t[0]) / knot_s), 1)
    inner = np.linspace(t[0], t[-1], count + 1)
    step = inner[1] - inner[0]
    knots = np.concatenate(
        [inner[0] + step * np.arange(-_DEGREE, 0), inner, inner[-1] + step * np.arange(1, _DEGREE + 1)]
    )
    slow = RotationSpline.fit(knots, t, apart, _DEGREE)
    error = np.asarray((slow.rotation(t).inv() * apart).magnitude())
    good = np.flatnonzero(error < _OUTLIER * max(float(np.median(error)), 1e-9))
    good = np.union1d(good, [0, len(t) - 1])
    slow = RotationSpline.fit(knots, t[good], apart[good], _DEGREE)
    return slow.rotation(samples.clip(t[0], t[-1])) * integral
