"""Tracks that turn together: one rotation explains them, up to the parallax of what is far away."""

from __future__ import annotations

import numpy as np

_NUM_ROTATIONS, _POLISH_ROUNDS = 200, 3
_MIN_SINE = 0.1  # between two tracks that tell a rotation
_MIN_TRACKS = 3
_CELL_PX = 40.0  # places count once each, however many tracks they have


def turning_together(
    before: np.ndarray, after: np.ndarray, focal: float, limits_px: tuple[float, ...]
) -> list[np.ndarray]:
    """The tracks (N,) bool, in as many places of the image as possible, that one rotation explains up to some pixels;
    for each of some limits, at little more than the cost of one.

    Args:
        before, after: (N, 2) bearings in two views.
        focal: pixels per unit of bearing.
        limits_px: how far a track may be off.
    """
    a, b = _rays(before), _rays(after)
    pairs = np.random.default_rng(0).integers(0, len(a), (_NUM_ROTATIONS, 2))
    pairs = pairs[np.linalg.norm(np.cross(a[pairs[:, 0]], a[pairs[:, 1]]), axis=1) > _MIN_SINE]
    if not len(pairs):
        return [np.ones(len(a), bool) for _ in limits_px]
    tried = _axes(b, pairs) @ np.swapaxes(_axes(a, pairs), 1, 2)
    off = _squared_distance(tried, a, after)
    cell = np.unique(np.floor(focal * after / _CELL_PX).astype(int), axis=0, return_inverse=True)[1].ravel()
    within = (cell[:, None] == np.arange(cell.max() + 1)) / np.bincount(cell)
    found = []
    for limit_px in limits_px:
        close = off < (limit_px / focal) ** 2
        score = np.clip(2 * (close @ within) - 1, 0, 1).sum(1) + 1e-3 * close.sum(1)
        found.append(_polished(close[int(np.argmax(score))], (a, b), after, limit_px / focal))
    return found


def _polished(turning: np.ndarray, rays: tuple[np.ndarray, np.ndarray], after: np.ndarray, limit: float) -> np.ndarray:
    """The tracks that the best rotation of some of them explains, a few times over."""
    a, b = rays
    for _ in range(_POLISH_ROUNDS):
        if turning.sum() < _MIN_TRACKS:
            break
        left, _, right = np.linalg.svd(b[turning].T @ a[turning])
        left[:, 2] *= np.sign(np.linalg.det(left @ right))
        turning = _squared_distance((left @ right)[None], a, after)[0] < limit**2
    return turning


def _axes(rays: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(K, 3, 3) right-handed axes, in columns, from pairs of rays."""
    one, other = rays[pairs[:, 0]], rays[pairs[:, 1]]
    across = np.cross(one, other)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return np.stack([one, across, np.cross(one, across)], 2)


def _squared_distance(rotations: np.ndarray, rays: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Squares (K, N) of the distance of bearings (N, 2) from those of rays (N, 3) after rotations (K, 3, 3)."""
    x, y, z = np.moveaxis(rotations @ rays.T, 1, 0)
    inverse = 1 / np.maximum(z, 1e-3)
    return np.asarray((x * inverse - after[:, 0]) ** 2 + (y * inverse - after[:, 1]) ** 2)


def _rays(bearing: np.ndarray) -> np.ndarray:
    rays = np.column_stack([bearing, np.ones(len(bearing))])
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))
