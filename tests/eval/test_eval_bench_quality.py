"""Spoilt poses and the figures that should tell them."""

from __future__ import annotations

import edge_scene as scene
import numpy as np
import pytest
from map_scenes import CONFIG, project

from evslam.eval.bench.quality import Moment, area, best_threshold, edge_share, moved, point_share, with_wrong_depth
from evslam.mapping.edge_pose import EdgeHost
from evslam.mapping.edge_sweep import ridge_points, tangents
from evslam.multiview.edges import EdgePoints
from evslam.multiview.observations import PointSightings

IMAGER = scene.imager()
FOCAL = IMAGER.canvas.focal
LINES = scene.lines()


@pytest.fixture
def moment() -> Moment:
    """The exact pose in front of a plane, and a host that sees it from beside."""
    pose, beside = scene.moved(-0.1, 0.06, 0.05), scene.moved(0.1, 0.0, 0.0)
    image = scene.image_from(IMAGER, LINES, beside)
    pixel = ridge_points(IMAGER, image)
    depth = np.full(len(pixel), scene.DEPTH + beside[2, 3])
    edges = EdgePoints(pixel, 1 / depth, 0.01 / depth, tangents(image.band, pixel), np.ones(len(pixel)))
    points = LINES[:: len(LINES) // 40]
    seen = PointSightings.of_points(points, project(pose, points), np.ones(len(points)))
    return Moment(pose, seen, [EdgeHost.of(edges, beside, IMAGER)], scene.image_from(IMAGER, LINES, pose))


def test_a_right_pose_has_high_shares(moment: Moment) -> None:
    assert point_share(moment, FOCAL, 3.0) == 1.0
    assert edge_share(moment, IMAGER) > 0.8


def test_a_moved_pose_has_low_shares(moment: Moment) -> None:
    wrong = moved(moment, 8.0, FOCAL, np.random.default_rng(0))
    bearing = project(wrong.T_cam_world, moment.seen.points)
    error = FOCAL * np.linalg.norm(bearing - moment.seen.bearing, axis=1)
    assert np.median(error) == pytest.approx(8.0, rel=1e-3)
    assert point_share(wrong, FOCAL, 3.0) < 0.2
    assert edge_share(wrong, IMAGER) < 0.5 * edge_share(moment, IMAGER)


def test_wrong_depths_lower_both_shares(moment: Moment) -> None:
    wrong = with_wrong_depth(moment, 0.5, CONFIG, FOCAL, np.random.default_rng(0))
    assert point_share(wrong, FOCAL, 3.0) < 0.9
    assert edge_share(wrong, IMAGER) < 0.8 * edge_share(moment, IMAGER)


def test_area_and_threshold() -> None:
    right, wrong = np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.1, 0.2, 0.5, 0.4])
    assert area(right, wrong) == pytest.approx((4 * 3 + 2.5) / 16)
    assert best_threshold(right, wrong) == pytest.approx(0.6)
    assert area(wrong, wrong) == 0.5
