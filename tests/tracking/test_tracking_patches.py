"""Patch alignment: equals a plain twin, and recovers shifts and deformations of a textured image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from evslam.tracking.event_frame import BORDER, pyramid
from evslam.tracking.patch_kernels import (
    HALF,
    RIM,
    ROOM,
    SIDE,
    STRIDE,
    align,
    cut_anchors,
    cut_template,
    follow,
    realign,
)

LIMITS = np.array([20.0, 0.03, 1.5])
SHAPE = (180, 240)
TEXTURE = np.stack([40 * gaussian_filter(np.random.default_rng(k).normal(size=SHAPE), 2.5) / 0.1 for k in range(2)])
TEXTURE = TEXTURE.astype(np.float32)
MIDDLE = np.array([120.0, 90.0])


def warped(matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(2, H, W) the texture after what lies at MIDDLE + d has moved to MIDDLE + shift + matrix @ d."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    offset = np.stack([column, row], -1) - MIDDLE - shift
    source = offset @ np.linalg.inv(matrix).T + MIDDLE
    where = source[..., 1], source[..., 0]
    return np.stack([map_coordinates(channel, where, order=3, mode="nearest") for channel in TEXTURE])


def template_at(image: np.ndarray, x: float, y: float, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple]:
    scratch = np.zeros((2, SIDE + 2, ROOM), np.float32)
    template, gradient = np.zeros((2, SIDE, STRIDE), np.float32), np.zeros((2, 2, SIDE, STRIDE), np.float32)
    return template, gradient, cut_template(image, x, y, linear, scratch, template, gradient)


@pytest.mark.parametrize("linear", [np.eye(2), np.array([[1.1, -0.2], [0.15, 0.9]])], ids=["straight", "deformed"])
def test_template_equals_its_plain_twin(linear: np.ndarray) -> None:
    x, y = 100.3, 80.7
    template, gradient, moments = template_at(TEXTURE, x, y, linear)
    d = np.stack(np.meshgrid(*2 * [np.arange(-RIM, RIM + 1.0)]), -1)  # (row, column) of (dx, dy)
    place = np.array([x, y]) + d @ linear.T
    patch = [map_coordinates(channel, (place[..., 1], place[..., 0]), order=1) for channel in TEXTURE]
    for channel in range(2):
        gy, gx = (each[1:-1, 1:-1] for each in np.gradient(patch[channel]))
        assert np.abs(template[channel, :, :SIDE] - patch[channel][1:-1, 1:-1]).max() < 1e-3
        assert np.abs(gradient[channel, 0, :, :SIDE] - gx).max() < 1e-3
        assert np.abs(gradient[channel, 1, :, :SIDE] - gy).max() < 1e-3
    assert not gradient[..., SIDE:].any()
    gx, gy = gradient[:, 0].astype(float), gradient[:, 1].astype(float)
    assert moments == pytest.approx([(gx * gx).sum(), (gx * gy).sum(), (gy * gy).sum()], rel=1e-4)


def test_template_at_the_edge_of_the_image_is_refused() -> None:
    for x, y in ((11.0, 90.0), (120.0, 12.0), (228.0, 90.0), (120.0, 167.5), (np.nan, 90.0)):
        assert template_at(TEXTURE, x, y, np.eye(2))[2] == (0.0, 0.0, 0.0)


def plain_align(image: np.ndarray, template: np.ndarray, gradient: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Gauss-Newton with the template's gradients, in double precision, to the end."""
    gx, gy = (gradient[:, axis, :, :SIDE].astype(float).ravel() for axis in (0, 1))
    jacobian = np.column_stack([gx, gy])
    row, column = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1].astype(float)
    for _ in range(100):
        where = row + place[1], column + place[0]
        now = np.stack([map_coordinates(channel, where, order=1) for channel in image])
        error = (now - template[:, :, :SIDE]).ravel().astype(float)
        place = place - np.linalg.solve(jacobian.T @ jacobian, jacobian.T @ error)
    return place


def test_alignment_equals_its_plain_twin() -> None:
    image = warped(np.eye(2), np.array([1.7, -2.3]))
    template, gradient, moments = template_at(TEXTURE, 120.0, 90.0, np.eye(2))
    x, y, found = align(image, template, gradient, moments, (120.0, 90.0), 50, 1e-4)
    assert found
    assert np.abs(plain_align(image, template, gradient, np.array([120.0, 90.0])) - [x, y]).max() < 2e-3


@pytest.mark.parametrize("shift", [(0.5, 0.25), (-1.3, 2.2), (2.75, -0.6)])
def test_a_shift_is_recovered_to_a_fraction_of_a_pixel(shift: tuple[float, float]) -> None:
    image = warped(np.eye(2), np.array(shift))
    places = np.stack(np.meshgrid([60.0, 120.0, 180.0], [60.0, 90.0, 120.0]), -1).reshape(-1, 2)
    for x, y in places:
        template, gradient, moments = template_at(TEXTURE, x, y, np.eye(2))
        u, v, found = align(image, template, gradient, moments, (x, y), 20, 1e-3)
        assert found
        assert np.hypot(u - x - shift[0], v - y - shift[1]) < 0.02


def test_a_blank_patch_is_not_aligned() -> None:
    blank = np.ones_like(TEXTURE)
    template, gradient, moments = template_at(blank, 120.0, 90.0, np.eye(2))
    assert align(blank, template, gradient, moments, (120.0, 90.0), 20, 0.03) == (120.0, 90.0, False)


def test_points_are_followed_there_and_back() -> None:
    """Over eight pixels, coarse to fine; what has vanished is not found again."""
    image = warped(np.eye(2), np.array([6.4, -4.8]))
    image[:, :60, :90] = 0
    start = np.array([[60.0, 110.0], [120.0, 90.0], [150.0, 60.0], [45.0, 45.0]])
    guess = start.copy()
    levels = pyramid(tuple(TEXTURE), 3), pyramid(tuple(image), 3)
    gap = follow(levels, BORDER, start, guess, np.eye(2), np.eye(2), LIMITS)
    assert np.abs(guess[:3] - start[:3] - [6.4, -4.8]).max() < 0.05
    assert gap[:3].max() < 0.05
    assert gap[3] > 0.8


def test_a_rolled_and_zoomed_image_is_followed_by_its_linear_part() -> None:
    angle, zoom = 0.2, 1.15
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = warped(linear, np.array([2.0, 1.0]))
    start = MIDDLE + np.array([[0.0, 0.0], [30.0, -20.0], [-25.0, 25.0]])
    true = MIDDLE + [2.0, 1.0] + (start - MIDDLE) @ linear.T
    levels = pyramid(tuple(TEXTURE), 2), pyramid(tuple(image), 2)
    guess = true + np.array([0.8, -0.7])
    blind = guess.copy()
    gap = follow(levels, BORDER, start, guess, linear, np.linalg.inv(linear), LIMITS)
    follow(levels, BORDER, start, blind, np.eye(2), np.eye(2), LIMITS)
    assert np.abs(guess - true).max() < 0.05
    assert gap.max() < 0.1
    assert np.abs(blind - true).max() > 0.2


def test_anchors_pull_points_back_to_where_they_were_first_seen() -> None:
    angle = 0.15
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = pyramid(tuple(warped(linear, np.array([3.0, 0.0]))), 1)[0]
    source = pyramid(tuple(TEXTURE), 1)[0]
    start = MIDDLE + np.array([[0.0, 0.0], [20.0, 10.0], [-30.0, 15.0]])
    true = MIDDLE + [3.0, 0.0] + (start - MIDDLE) @ linear.T
    anchors = np.zeros((5, 2, 39, 39), np.float32)
    slot = np.array([4, 0, 2])
    cut_anchors(source, start + BORDER, slot, anchors)
    for s, (x, y) in zip(slot, start, strict=True):
        assert np.abs(anchors[s, :, 19, 19] - TEXTURE[:, int(y), int(x)]).max() < 1e-3
    templates = (
        np.zeros((5, 2, SIDE, STRIDE), np.float32),
        np.zeros((5, 2, 2, SIDE, STRIDE), np.float32),
        np.zeros((5, 3)),
        np.full((5, 2, 2), np.inf),
    )
    place = true + np.array([[0.9, -0.6], [-0.5, 0.8], [4.0, 3.0]])  # the last is too far off to be moved
    asked = place.copy()
    good = realign((anchors, *templates), slot, np.tile(linear, (5, 1, 1)), image, BORDER, place, LIMITS)
    assert good.tolist() == [True, True, False]
    assert np.abs(place[:2] - true[:2]).max() < 0.05
    assert np.array_equal(place[2], asked[2])
