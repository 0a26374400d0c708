"""Bundle adjustment: poses and points with the least robust reprojection error, by Levenberg-Marquardt.

The points are eliminated (Schur complement; Triggs et al., "Bundle Adjustment: A Modern Synthesis", 1999), so that the
system solved has six unknowns per free camera. It is dense: made for windows of up to about 60 free cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from evslam.beside import two_at_a_time
from evslam.errors import SolverError
from evslam.multiview.bundle_kernels import (
    Data,
    Eliminated,
    Normal,
    eliminate,
    factorise_points,
    linearise,
    move,
    subtract_points,
)
from evslam.multiview.observations import Observations, first_of_point

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-8, 1e8
_ACCEPTED, _REJECTED = 0.1, 10.0  # factors of the damping
_MANY = 40  # free cameras
_EXACT = 1e-20  # of the squared scale: a mean cost that is rounding


@dataclass(frozen=True)
class BundleProblem:
    """What is adjusted.

    Attributes:
        T_cam_world: (C, 4, 4) poses.
        is_free: (C,) bool, the others stay as they are.
        points: (P, 3) world.
        observations: of these views and points.
        focal: pixels per unit of bearing.
        is_free_point: (P,) bool, None if all are.
        spread: (P, 3) world, one standard deviation of a point whose place on a line was guessed, against a pixel of an
            observation of weight 1; zero for a point that was not. None if none was.
        may_turn: False if cameras keep their rotation and move only.
    """

    T_cam_world: np.ndarray
    is_free: np.ndarray
    points: np.ndarray
    observations: Observations
    focal: float
    is_free_point: np.ndarray | None = None
    spread: np.ndarray | None = None
    may_turn: bool = True


@dataclass(frozen=True)
class BundleSettings:
    """How to adjust.

    Attributes:
        scale_px: Cauchy scale; errors above it lose weight.
        max_iterations: most steps tried.
        tolerance: relative decrease of the cost that is not worth a step.
    """

    scale_px: float
    max_iterations: int
    tolerance: float


@dataclass(frozen=True)
class BundleResult:
    """Adjusted poses and points.

    Attributes:
        T_cam_world: (C, 4, 4). Fixed poses are bit-identical.
        points: (P, 3). Fixed points, and points that nothing observes, are bit-identical.
        error_px: (N,) distance from the projection, across the edge where a normal is given; at most 50, and 50 behind
            the camera.
        cost: half the sum of weight * scale^2 * log(1 + error^2 / scale^2), pixels^2.
        history: cost at the start and after each accepted step.
        status: "converged", "max_iterations", or "stalled" if no step lowers the cost.
    """

    T_cam_world: np.ndarray
    points: np.ndarray
    error_px: np.ndarray
    cost: float
    history: tuple[float, ...]
    status: str


def adjust(problem: BundleProblem, settings: BundleSettings) -> BundleResult:
    """Adjusts the free poses and points.

    Raises:
        SolverError: the parts of the problem do not fit together.
    """
    data = _data(problem, settings.scale_px)
    num_free, num_points, num_observations = int(problem.is_free.sum()), len(problem.points), len(data.camera)
    state = (np.array(problem.T_cam_world, float, order="C"), np.array(problem.points, float, order="C").reshape(-1, 3))
    new_state = (state[0].copy(), state[1].copy())
    normal, new_normal = (_normal(num_free, num_points, num_observations) for _ in range(2))
    eliminated = _eliminated(num_free, num_points, num_observations)
    floor = _EXACT * settings.scale_px**2 * num_observations
    history, damping, status = [_linearise(problem, state, data, normal)], _FIRST_DAMPING, "max_iterations"
    for _ in range(settings.max_iterations):
        decrease = _try_step(state, data, normal, damping, eliminated, new_state)
        if decrease <= settings.tolerance * history[-1] + floor:
            status = "converged"
            break
        cost = _linearise(problem, new_state, data, new_normal) if np.isfinite(decrease) else np.inf
        if cost < history[-1]:
            state, new_state, normal, new_normal = new_state, state, new_normal, normal
            damping = max(damping * _ACCEPTED, _LEAST_DAMPING)
            history.append(cost)
        elif damping >= _MOST_DAMPING:
            status = "stalled"
            break
        else:
            damping *= _REJECTED
    return BundleResult(*state, normal.error, history[-1], tuple(history), status)


def reduced_hessian(problem: BundleProblem, scale_px: float) -> np.ndarray:
    """(6 F, 6 F) Hessian of the cost by the free poses, in their order, with the points at their best for each.

    The chart is rotation vector and translation (w, v) in the camera frame, R <- exp(w) R, t <- exp(w) t + v. Singular
    along the gauge where fewer than two cameras are fixed.
    """
    data = _data(problem, scale_px)
    sizes = int(problem.is_free.sum()), len(problem.points), len(data.camera)
    normal, eliminated = _normal(*sizes), _eliminated(*sizes)
    poses, points = (np.array(each, float, order="C") for each in (problem.T_cam_world, problem.points))
    _linearise(problem, (poses, points.reshape(-1, 3)), data, normal)
    _eliminate(data, normal, 0.0, eliminated)
    matrix = _matrix(eliminated)
    return np.asarray(np.triu(matrix) + np.triu(matrix, 1).T)


def normalise_scale(
    before: np.ndarray, T_cam_world: np.ndarray, points: np.ndarray, fixed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scales a world about one camera so that the baseline from it that was the largest has the length it had.

    With one fixed camera the scale of the world is free, and adjusting lets it drift.

    Args:
        before: (C, 4, 4) poses that set the length.
        T_cam_world: (C, 4, 4) the same poses, adjusted. points: (P, 3).
        fixed: index of the camera that stays.

    Returns:
        T_cam_world and points, scaled; unscaled if all cameras are in one place.
    """
    old, new = centres(before), centres(T_cam_world)
    length = np.linalg.norm(old - old[fixed], axis=1)
    farthest = int(np.argmax(length))
    now = float(np.linalg.norm(new[farthest] - new[fixed]))
    if length[farthest] == 0.0 or now == 0.0:
        return T_cam_world.copy(), points.copy()
    scale, origin = length[farthest] / now, new[fixed]
    scaled = T_cam_world.copy()
    moved = np.arange(len(scaled)) != fixed
    place = origin + scale * (new[moved] - origin)
    scaled[moved, :3, 3] = -np.einsum("cij,cj->ci", scaled[moved, :3, :3], place)
    return scaled, origin + scale * (points - origin)


def centres(T_cam_world: np.ndarray) -> np.ndarray:
    """(C, 3) positions of the cameras in the world."""
    return np.asarray(-np.einsum("cji,cj->ci", T_cam_world[:, :3, :3], T_cam_world[:, :3, 3]))


def _linearise(problem: BundleProblem, state: tuple[np.ndarray, ...], data: Data, normal: Normal) -> float:
    """Writes the normal equations, without turns where cameras keep their rotation; returns the cost. The points are
    taken in two halves; with many cameras two threads work on one each."""
    count, half = len(normal.point), int(np.searchsorted(data.start, len(data.camera) // 2))
    second = normal._replace(camera=np.empty_like(normal.camera), camera_gradient=np.empty_like(normal.camera_gradient))
    parts = [(0, half, normal), (half, count, second)]
    work = two_at_a_time if len(normal.camera) >= _MANY else map
    cost = float(sum(work(lambda part: linearise(*state, data, *part), parts)))
    normal.camera[:] += second.camera
    normal.camera_gradient[:] += second.camera_gradient
    if not problem.may_turn:
        normal.camera[:, :3], normal.camera[:, :, :3], normal.camera_gradient[:, :3] = 0.0, 0.0, 0.0
        normal.mixed[:, :3] = 0.0
    return cost


def _try_step(
    state: tuple[np.ndarray, ...],
    data: Data,
    normal: Normal,
    damping: float,
    eliminated: Eliminated,
    new_state: tuple[np.ndarray, ...],
) -> float:
    """Writes the state after one damped step; returns the decrease to first order, halved; NaN if there is no step."""
    _eliminate(data, normal, damping, eliminated)
    step = np.zeros(0)
    if len(normal.camera):
        # The transpose is in Fortran's order: no copy, and its lower triangle is the one written.
        factor, failed = dpotrf(_matrix(eliminated).T, lower=1, clean=0, overwrite_a=1)
        if failed:
            return np.nan
        step, _ = dpotrs(factor, -eliminated.gradient, lower=1)
    slope = move(state, step, data, eliminated, new_state)
    return 0.5 * float(slope - normal.camera_gradient.ravel() @ step)


def _eliminate(data: Data, normal: Normal, damping: float, out: Eliminated) -> None:
    """Writes the damped system without its points; of many cameras two threads work on one half each."""
    count = len(normal.camera)
    if count < _MANY:
        eliminate(data, normal, damping, out)
        return
    factorise_points(data, normal, damping, out)
    two_at_a_time(lambda span: subtract_points(data, *span, out), [(0, count // 2), (count // 2, count)])


def _matrix(eliminated: Eliminated) -> np.ndarray:
    """(6 F, 6 F) of the cameras alone, upper triangle."""
    size = len(eliminated.gradient)
    return eliminated.blocks.swapaxes(1, 2).reshape(size, size)


def _data(problem: BundleProblem, scale_px: float) -> Data:
    """The problem as the kernels want it."""
    num_views, num_points, seen = len(problem.T_cam_world), len(problem.points), problem.observations
    is_free = np.asarray(problem.is_free, bool)
    is_free_point = np.ones(num_points, bool) if problem.is_free_point is None else problem.is_free_point
    if len(is_free) != num_views or len(is_free_point) != num_points:
        raise SolverError(
            f"{len(is_free)} flags of {num_views} views, {len(is_free_point)} of {num_points} points: pass one for each"
        )
    return Data(
        first_of_point(seen, num_views, num_points),
        np.ascontiguousarray(seen.view, np.int64),
        np.ascontiguousarray(seen.bearing, float),
        np.ascontiguousarray(seen.normal, float),
        np.ascontiguousarray(seen.weight, float),
        np.where(is_free, np.cumsum(is_free) - 1, -1),
        np.ascontiguousarray(is_free_point, bool),
        np.array(problem.points, float, order="C").reshape(-1, 3),
        _pull(problem),
        np.array([problem.focal, scale_px]),
    )


def _pull(problem: BundleProblem) -> np.ndarray:
    if problem.spread is None:
        return np.zeros((len(problem.points), 3))
    square = (problem.spread**2).sum(1, keepdims=True)
    return np.divide(problem.spread, square, out=np.zeros((len(square), 3)), where=square > 0)


def _normal(num_free: int, num_points: int, num_observations: int) -> Normal:
    """Room for `linearise`."""
    return Normal(
        np.empty((num_free, 6, 6)),
        np.empty((num_free, 6)),
        np.empty((num_points, 3, 3)),
        np.empty((num_points, 3)),
        np.empty((num_observations, 6, 3)),
        np.empty(num_observations),
    )


def _eliminated(num_free: int, num_points: int, num_observations: int) -> Eliminated:
    """Room for `eliminate`."""
    return Eliminated(
        np.empty((num_free, num_free, 6, 6)),
        np.empty(6 * num_free),
        np.empty((num_points, 3, 3)),
        np.empty((num_observations, 3, 6)),
        np.empty((num_points, 3)),
    )
