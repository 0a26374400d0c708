"""Bundle adjustment: poses and points that explain what the views saw, by a Schur complement over the points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.multiview.bundle_kernels import linearise, measure, move, reduce, step_points
from evslam.multiview.observations import Observations

_TRIES = 4  # of one linearisation, with growing damping


@dataclass(frozen=True)
class BundleProblem:
    """What to adjust.

    Attributes:
        T_cam_world: (C, 4, 4) float64.
        is_free: (C,) bool, which cameras may move.
        points: (P, 3) float64, world.
        observations: of the points by the cameras.
        focal: pixels per unit of bearing.
    """

    T_cam_world: np.ndarray
    is_free: np.ndarray
    points: np.ndarray
    observations: Observations
    focal: float


@dataclass(frozen=True)
class BundleSettings:
    """Limits of the solver.

    Attributes:
        scale_px: Cauchy scale of the robust cost.
        max_iterations: linearisations.
        tolerance: relative gain in cost below which the search stops.
    """

    scale_px: float
    max_iterations: int
    tolerance: float


@dataclass(frozen=True)
class BundleResult:
    """The adjusted scene.

    Attributes:
        T_cam_world: (C, 4, 4) float64; fixed cameras are unchanged.
        points: (P, 3) float64.
        error_px: (N,) distance of each observation; across the edge for points on edges.
        history: robust cost at the start and after each accepted step.
        status: "converged", "max_iterations" or "stalled" (no step lowers the cost).
        reduced_hessian: (6F, 6F) of the free cameras' twists (v, omega), points eliminated, at the last linearisation.
    """

    T_cam_world: np.ndarray
    points: np.ndarray
    error_px: np.ndarray
    history: tuple[float, ...]
    status: str
    reduced_hessian: np.ndarray

    @property
    def cost(self) -> float:
        return self.history[-1]


def adjust(problem: BundleProblem, settings: BundleSettings) -> BundleResult:
    """Levenberg-Marquardt with robust weights (Triggs et al. 2000, "Bundle adjustment: a modern synthesis").

    Args:
        problem: scene and observations.
        settings: robust scale and limits.

    Returns:
        The scene with the lowest cost that was met.
    """
    seen = problem.observations
    poses, points = problem.T_cam_world.copy(), problem.points.copy()
    slot = np.where(problem.is_free, np.cumsum(problem.is_free) - 1, -1)
    free = np.flatnonzero(problem.is_free)
    data = seen.view, seen.point, seen.bearing, seen.normal, seen.weight, problem.focal, settings.scale_px
    first = np.searchsorted(seen.point, np.arange(len(points) + 1))
    system = _workspace(len(free), len(points), len(seen))
    inverse, matrix = np.zeros((len(points), 3, 3)), np.zeros((6 * len(free), 6 * len(free)))
    right, error = np.zeros(6 * len(free)), np.zeros(len(seen))
    history, damping, status = [measure(poses, points, *data, error)], 1e-3, "max_iterations"
    for _ in range(settings.max_iterations):
        linearise(poses, points, slot, *data, system)
        for _ in range(_TRIES):
            reduce(slot, seen.view, first, damping, system, inverse, matrix, right)
            step = np.linalg.solve(matrix, right) if len(free) else right
            new_poses, new_points = poses.copy(), np.empty_like(points)
            for number, index in enumerate(free):
                move(poses[index], step[6 * number : 6 * number + 6], new_poses[index])
            step_points(points, slot, seen.view, first, system, inverse, step, new_points)
            cost = measure(new_poses, new_points, *data, error)
            if cost < history[-1]:
                break
            damping *= 8
        else:
            status = "stalled"
            break
        poses, points, damping = new_poses, new_points, max(0.2 * damping, 1e-7)
        history.append(cost)
        if history[-2] - cost < settings.tolerance * history[-2]:
            status = "converged"
            break
    measure(poses, points, *data, error)
    return BundleResult(poses, points, error, tuple(history), status, matrix)


def normalise_scale(before: np.ndarray, T_cam_world: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (C, 4, 4) and points (P, 3), rescaled about the first camera to the size of the poses `before`.

    With one fixed camera the scale is free; the distance of the camera that is farthest from the first is kept.
    """
    old, after = centres(before), centres(T_cam_world)
    far = int(np.argmax(np.linalg.norm(old - old[0], axis=1)))
    factor = np.linalg.norm(old[far] - old[0]) / max(np.linalg.norm(after[far] - after[0]), 1e-12)
    scaled = T_cam_world.copy()
    moved = after[0] + factor * (after - after[0])
    scaled[:, :3, 3] = -np.einsum("cij,cj->ci", T_cam_world[:, :3, :3], moved)
    return scaled, after[0] + factor * (points - after[0])


def centres(T_cam_world: np.ndarray) -> np.ndarray:
    """Camera centres (C, 3) in the world of poses (C, 4, 4)."""
    return -np.einsum("cji,cj->ci", T_cam_world[:, :3, :3], T_cam_world[:, :3, 3])


def _workspace(cameras: int, points: int, observations: int) -> tuple[np.ndarray, ...]:
    shapes = (cameras, 6, 6), (cameras, 6), (points, 3, 3), (points, 3), (observations, 6, 3)
    return tuple(np.zeros(shape) for shape in shapes)
