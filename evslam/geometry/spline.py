"""Continuous-time rotation: a cumulative B-spline on SO(3) with analytic derivatives.

R(t) = R_i exp(l_1(t) d_(i+1)) ... exp(l_p(t) d_(i+p)), d_k = log(R_(k-1)^T R_k), with the cumulative basis functions
l_j of degree p on any increasing knots (Kim, Kim and Shin, SIGGRAPH 1995; derivatives after Sommer et al., CVPR 2020,
here for rotations from the left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation, Slerp

from evslam.errors import DataError
from evslam.geometry import spline_kernels

_FIT_ROUNDS = 3


@dataclass(frozen=True)
class RotationSpline:
    """A rotation for every time in `span`.

    Attributes:
        knots: (K + degree + 1,) seconds, increasing.
        control: K rotations.
        degree: 1 (linear between the control rotations) to 3.
    """

    knots: np.ndarray
    control: Rotation
    degree: int = 3

    @staticmethod
    def fit(knots: np.ndarray, t: np.ndarray, rotation: Rotation, degree: int = 3) -> RotationSpline:
        """The spline closest to rotations at times (S,), increasing, that span it densely: least squares in angles."""
        times = control_times(knots, degree)
        spline = RotationSpline(knots, Slerp(t, rotation)(np.clip(times, t[0], t[-1])), degree)
        samples = spline.at(t)
        columns = samples.first[:, None] + np.arange(degree + 1)
        rows = np.repeat(np.arange(len(t)), degree + 1)
        basis = csr_matrix((samples.weights.ravel(), (rows, columns.ravel())), (len(t), len(times)))
        solver = splu((basis.T @ basis + 1e-6 * identity(len(times))).tocsc())
        control = spline.control
        for _ in range(_FIT_ROUNDS):
            error = (rotation * samples.rotation(control).inv()).as_rotvec()
            control = Rotation.from_rotvec(solver.solve(basis.T @ error)) * control
        return RotationSpline(knots, control, degree)

    @property
    def span(self) -> tuple[float, float]:
        """First and last time."""
        return float(self.knots[self.degree]), float(self.knots[-self.degree - 1])

    @property
    def control_times(self) -> np.ndarray:
        """(K,) seconds at which the control rotations act most."""
        return control_times(self.knots, self.degree)

    def at(self, t: np.ndarray) -> SplineSamples:
        """Prepare the evaluation at times t (S,) within the span; the result serves any control rotations.

        Raises:
            DataError: a time outside the span.
        """
        first, last = self.span
        slack = 1e-9 * (1 + last - first)
        if len(t) and not (t.min() >= first - slack and t.max() <= last + slack):
            raise DataError(f"no rotation at {t.min()} to {t.max()} s: the spline covers [{first}, {last}] s")
        return SplineSamples(*spline_kernels.cumulative_basis(self.knots, self.degree, np.clip(t, first, last)))

    def rotation(self, t: np.ndarray) -> Rotation:
        """R(t) at times (S,) within the span."""
        return Rotation.from_quat(self.quaternions(t))

    def quaternions(self, t: np.ndarray) -> np.ndarray:
        """R(t) as quaternions (S, 4) of unit length at times (S,) within the span."""
        samples = self.at(t)
        return np.asarray(spline_kernels.quaternions(self.control.as_quat(), samples.first, samples.share))

    def matrices(self, t: np.ndarray) -> np.ndarray:
        """R(t) (S, 3, 3) at times (S,) within the span."""
        return self.at(t).jacobian(self.control.as_quat())[0]

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
    def weights(self) -> np.ndarray:
        """(S, degree + 1) plain basis functions, which sum to 1."""
        ones, zeros = np.ones((len(self.first), 1)), np.zeros((len(self.first), 1))
        return np.concatenate([ones, self.share], 1) - np.concatenate([self.share, zeros], 1)

    def rotation(self, control: Rotation) -> Rotation:
        """R at the times, by the formula."""
        result, steps = control[self.first], (control[:-1].inv() * control[1:]).as_rotvec()
        for j in range(self.share.shape[1]):
            result = result * Rotation.from_rotvec(self.share[:, j, None] * steps[self.first + j])
        return result

    def jacobian(self, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For control rotations (K, 4) as quaternions: R (S, 3, 3) at the times, and J (S, degree + 1, 3, 3): small
        rotations e of the control rotations from the left turn R from the left by sum_j J[:, j] e[first + j], all in
        world axes.
        """
        rotation, jacobian = spline_kernels.evaluate(control, self.first, self.share)
        return rotation, jacobian


def control_times(knots: np.ndarray, degree: int) -> np.ndarray:
    """(K,) times at which the control rotations act most: means of `degree` successive knots."""
    return np.asarray(np.convolve(knots[1:-1], np.full(degree, 1 / degree), "valid"))
