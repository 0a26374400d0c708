"""The contrast of events and map together has its maximum at the right pose, and its gradient is that of its values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edge_scene import image_from, imager, lines, moved

from evslam.config import load_config
from evslam.mapping.union_contrast import UnionContrast, _moved, align_by_contrast

CONFIG = load_config().union


def test_gradient_is_the_slope_of_the_values() -> None:
    """Central differences over a third of a pixel: functional backpropagation is right over such distances."""
    maker, points = imager(), lines()
    image = image_from(maker, points, moved())
    pose = moved(0.012, -0.008, 0.01)
    contrast = UnionContrast(maker.canvas, image.levels[0], points[::3], pose, replace(CONFIG, gradient="functional"))
    _, slope = contrast.value_and_gradient(pose)
    for axis, step in ((0, 0.003), (1, 0.003), (2, 0.01), (3, 0.002), (4, 0.002), (5, 0.004)):
        change = step * np.eye(6)[axis]
        after, before = (contrast.value_and_gradient(_moved(pose, sign * change))[0] for sign in (1, -1))
        assert slope[axis] == pytest.approx((after - before) / (2 * step), rel=0.15, abs=5e-3)


@pytest.mark.parametrize("gradient", ["functional", "raw"])
def test_recovers_a_known_displacement(gradient: str) -> None:
    maker, points = imager(), lines()
    image = image_from(maker, points, moved())
    for start in (moved(0.02, 0.01, 0.0), moved(-0.01, 0.02, 0.02)):  # up to 2.2 px
        found = align_by_contrast(maker, image, points[::3], start, replace(CONFIG, gradient=gradient))
        assert found is not None
        assert np.abs(found[:2, 3]).max() * 200 / 2 < 0.15  # pixels
        assert np.linalg.norm(found[:2, 3]) < 0.2 * np.linalg.norm(start[:2, 3])


def test_few_points_are_refused() -> None:
    maker, points = imager(), lines()
    assert align_by_contrast(maker, image_from(maker, points, moved()), points[:10], moved(), CONFIG) is None
