"""Continuous-time rotation: a cumulative B-spline on SO(3) with analytic derivatives.

R(t) = R_i exp(l_1(t) d_(i+1)) ... exp(l_p(t) d_(i+p)), d_k = log(R_(k-1)^T R_k), with the cumulative basis functions
l_j of degree p on any increasing knots (Kim, Kim and Shin, SIGGRAPH 1995; derivatives after Sommer et al., CVPR 2020,
here for rotations from the left).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from evslam.errors import DataError


@dataclass(frozen=True)
class RotationSpline:
    """A rotation for every time in [knots[degree], knots[-degree - 1]].

    Attributes:
        knots: (K + degree + 1,) seconds, increasing.
        control: K rotations.
        degree: 1 (linear between the control rotations) to 3.
    """

    knots: np.ndarray
    control: Rotation
    degree: int = 3

    @property
    def span(self) -> tuple[float, float]:
        """First and last time."""
        return float(self.knots[self.degree]), float(self.knots[-self.degree - 1])

    def at(self, t: np.ndarray) -> SplineSamples:
        """Prepare the evaluation at times t (S,) within the span; the result serves any control rotations."""
        return sample_times(self.knots, self.degree, t)

    def rotation(self, t: np.ndarray) -> Rotation:
        """R(t) at times (S,) within the span."""
        return self.at(t).rotation(self.control)

    def angular_velocity(self, t: np.ndarray, step: float = 1e-4) -> np.ndarray:
        """(S, 3) rad/s in body axes, by central differences over +-step seconds, one-sided at the ends."""
        first, last = self.span
        low, high = np.maximum(t - step, first), np.minimum(t + step, last)
        turn = (self.rotation(low).inv() * self.rotation(high)).as_rotvec()
        return np.asarray(turn / (high - low)[:, None])


@dataclass(frozen=True)
class SplineSamples:
    """Times of a spline with their basis functions, for evaluation with changing control rotations.

    Attributes:
        first: (S,) index of the first of the degree + 1 control rotations that matter.
        share: (S, degree) cumulative basis functions l_1 ... l_p.
    """

    first: np.ndarray
    share: np.ndarray

    @property
    def degree(self) -> int:
        return self.share.shape[1]

    def rotation(self, control: Rotation) -> Rotation:
        """R at the times."""
        result, steps = control[self.first], self._steps(control)
        for j in range(self.degree):
            result = result * Rotation.from_rotvec(self.share[:, j, None] * steps[self.first + j])
        return result

    def jacobian(self, control: Rotation) -> tuple[Rotation, np.ndarray]:
        """R at the times, and J (S, degree + 1, 3, 3): small rotations delta of the control rotations from the left
        turn R from the left by sum_j J[:, j] delta[first + j], all in world axes.
        """
        steps = self._steps(control)
        inward = inverse_left_jacobian(steps) @ control[:-1].inv().as_matrix()
        result = control[self.first]
        out = np.zeros((len(self.first), self.degree + 1, 3, 3))
        out[:, 0] = np.eye(3)
        for j in range(self.degree):
            k, part = self.first + j, self.share[:, j, None] * steps[self.first + j]
            carried = self.share[:, j, None, None] * (result.as_matrix() @ left_jacobian(part) @ inward[k])
            out[:, j] -= carried
            out[:, j + 1] += carried
            result = result * Rotation.from_rotvec(part)
        return result, out

    @staticmethod
    def _steps(control: Rotation) -> np.ndarray:
        return np.asarray((control[:-1].inv() * control[1:]).as_rotvec())

    @cached_property
    def weights(self) -> np.ndarray:
        """(S, degree + 1) plain basis functions, which sum to 1."""
        ones, zeros = np.ones((len(self.first), 1)), np.zeros((len(self.first), 1))
        return np.concatenate([ones, self.share], 1) - np.concatenate([self.share, zeros], 1)


def sample_times(knots: np.ndarray, degree: int, t: np.ndarray) -> SplineSamples:
    """Basis functions of a spline at times (S,).

    Raises:
        DataError: a time outside the span.
    """
    start, stop = knots[degree], knots[-degree - 1]
    slack = 1e-9 * (1 + abs(stop - start))
    if len(t) and not (t.min() >= start - slack and t.max() <= stop + slack):
        raise DataError(f"no rotation at {t.min()} to {t.max()} s: the spline covers [{start}, {stop}] s")
    t = np.clip(t, start, stop)
    last = len(knots) - degree - 2  # the last control rotation
    first = np.clip(np.searchsorted(knots, t, side="right") - 1 - degree, 0, last - degree)
    values = BSpline.design_matrix(t, knots, degree).data.reshape(len(t), degree + 1)
    return SplineSamples(first, np.cumsum(values[:, :0:-1], 1)[:, ::-1])


def left_jacobian(phi: np.ndarray) -> np.ndarray:
    """J (..., 3, 3) with exp(phi + J^-1 d) = exp(d) exp(phi) for small d, phi (..., 3) in radians."""
    angle, cross = _angle(phi), skew(phi)
    half = 0.5 * angle
    first = 0.5 * np.sinc(half / np.pi) ** 2  # (1 - cos) / angle^2
    second = np.where(angle < 1e-3, 1 / 6 - angle**2 / 120, (1 - np.sinc(angle / np.pi)) / np.maximum(angle, 1e-3) ** 2)
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


def inverse_left_jacobian(phi: np.ndarray) -> np.ndarray:
    """Inverse of `left_jacobian`, for |phi| < 2 pi."""
    angle, cross = _angle(phi), skew(phi)
    safe = np.maximum(angle, 1e-3)
    exact = (1 - 0.5 * safe / np.tan(0.5 * safe)) / safe**2
    second = np.where(angle < 1e-3, 1 / 12 + angle**2 / 720, exact)
    return np.asarray(np.eye(3) - 0.5 * cross + second * (cross @ cross))


def _angle(phi: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(phi, axis=-1)[..., None, None])


def skew(v: np.ndarray) -> np.ndarray:
    """(..., 3, 3) matrix of the cross product with v (..., 3)."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out
