"""A moment's pose from the edges of a known plane and a few noisy landmarks."""

from __future__ import annotations

import edge_scene as scene
import numpy as np
from map_scenes import CONFIG, pose_error, project
from scipy.spatial.transform import Rotation

from evslam.mapping.edge_pose import EdgeHost, edges_in_view, pose_from_edges
from evslam.mapping.edge_sweep import ridge_points, tangents
from evslam.multiview.edges import EdgePoints
from evslam.multiview.observations import PointSightings
from evslam.multiview.pose import PoseSettings, estimate_pose
from evslam.placing import place_by_edges
from evslam.tracking.point_pose import PointPose

IMAGER = scene.imager()
CANVAS = IMAGER.canvas
LINES = scene.lines()


def true_pose() -> np.ndarray:
    pose = scene.moved(-0.1, 0.06, 0.05)
    pose[:3, :3] = Rotation.from_rotvec([0.02, -0.03, 0.05]).as_matrix()
    return pose


def host(T_cam_world: np.ndarray) -> EdgeHost:
    """Edges of a keyframe with exact depth: its camera looks straight at the plane."""
    image = scene.image_from(IMAGER, LINES, T_cam_world)
    pixel = ridge_points(IMAGER, image)
    depth = np.full(len(pixel), scene.DEPTH + T_cam_world[2, 3])
    edges = EdgePoints(pixel, 1 / depth, 0.01 / depth, tangents(image.band, pixel), np.ones(len(pixel)))
    return EdgeHost.of(edges, T_cam_world, IMAGER)


HOSTS = [host(scene.moved(x, y, z)) for x, y, z in ((0.0, 0.0, 0.0), (0.1, -0.1, 0.1))]
IMAGE = scene.image_from(IMAGER, LINES, true_pose())


def sightings(number: int, noise_px: float) -> PointSightings:
    points = LINES[:: len(LINES) // number][:number]
    noise = np.random.default_rng(0).normal(0, noise_px / CANVAS.focal, (number, 2))
    return PointSightings.of_points(points, project(true_pose(), points) + noise, np.ones(number))


def test_edges_make_the_pose_better_than_a_few_noisy_points_can() -> None:
    seen = sightings(20, noise_px=1.0)
    settings = PoseSettings(CANVAS.focal, 1.0, 10)
    by_points = estimate_pose(true_pose(), seen.points, seen.bearing, None, seen.weight, settings).T_cam_world
    fit = pose_from_edges(IMAGER, IMAGE, HOSTS, by_points, seen, CONFIG.edge_pose)
    assert fit is not None
    apart, turned = pose_error(fit.T_cam_world, true_pose())
    assert apart < 0.004
    assert turned < 0.1
    assert apart < 0.4 * pose_error(by_points, true_pose())[0]


def test_with_few_edges_there_is_no_pose() -> None:
    seen = sightings(20, noise_px=0.0)
    far = scene.moved(5.0) @ true_pose()
    blank = IMAGER.of_votes(np.zeros((CANVAS.height, CANVAS.width), np.float32), 0)
    assert pose_from_edges(IMAGER, IMAGE, [], true_pose(), seen, CONFIG.edge_pose) is None
    assert pose_from_edges(IMAGER, IMAGE, HOSTS, far, seen, CONFIG.edge_pose) is None
    assert pose_from_edges(IMAGER, blank, HOSTS, true_pose(), seen, CONFIG.edge_pose) is None


def test_edges_in_view_are_those_that_project_where_the_sensor_sees() -> None:
    world = np.concatenate([host.world_points for host in HOSTS])
    pixel = CANVAS.pixels(project(true_pose(), world))
    row, column = np.rint(pixel[:, 1]).astype(int), np.rint(pixel[:, 0]).astype(int)
    inside = (row >= 0) & (column >= 0) & (row < CANVAS.height) & (column < CANVAS.width)
    expected = sum(IMAGER.valid[r, c] for r, c in zip(row[inside], column[inside], strict=True))
    assert edges_in_view(IMAGER, IMAGE, HOSTS, true_pose()) == expected > 100
    assert edges_in_view(IMAGER, IMAGE, HOSTS, scene.moved(50.0)) == 0
    behind = np.diag([-1.0, 1.0, -1.0, 1.0])
    assert edges_in_view(IMAGER, IMAGE, HOSTS, behind) == 0


def test_edges_are_neither_seen_nor_expected_where_something_moves_before_them() -> None:
    hidden = np.zeros((CANVAS.height, CANVAS.width), bool)
    hidden[:, : CANVAS.width // 2] = True
    half, other = (scene.image_from(IMAGER, LINES, true_pose(), each) for each in (hidden, ~hidden))
    assert not half.band[hidden].any()
    assert half.band[~hidden].max() > 0.5
    whole = edges_in_view(IMAGER, IMAGE, HOSTS, true_pose())
    parts = [edges_in_view(IMAGER, each, HOSTS, true_pose()) for each in (half, other)]
    assert min(parts) > 0.2 * whole
    assert sum(parts) == whole


def test_a_pose_is_doubtful_where_its_edges_are_not_found() -> None:
    seen = sightings(20, noise_px=0.0)
    pose = PointPose(true_pose(), np.arange(20), np.zeros(20), 20, np.eye(6), seen)
    right = place_by_edges(IMAGER, IMAGE, HOSTS, pose, CONFIG)
    assert right.T_cam_world is not None
    assert not right.is_doubtful
    noise = np.random.default_rng(0).poisson(0.5, (CANVAS.height, CANVAS.width)).astype(np.float32)
    assert place_by_edges(IMAGER, IMAGER.of_votes(noise, 0), HOSTS, pose, CONFIG).is_doubtful
    assert place_by_edges(IMAGER, IMAGER.of_votes(0 * noise, 0), HOSTS, pose, CONFIG).is_doubtful
