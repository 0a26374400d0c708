"""Edges of a known plane: images, depth, matches and alignment have the values that geometry says."""

from __future__ import annotations

import edge_scene as scene
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from evslam.mapping.edge_alignment import align_edges, linearise, move
from evslam.mapping.edge_image import CELL_PX, inverse_depth_grid
from evslam.mapping.edge_kernels import vote_flow
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_sweep import ridge_points, spread, sweep_edges, sweep_range, tangents
from evslam.mapping.sweep_kernels import peaks, sweep
from evslam.multiview.edges import EdgePoints

IMAGER = scene.imager()
CANVAS = IMAGER.canvas
LINES = scene.lines()
HOST = scene.image_from(IMAGER, LINES, np.eye(4))
MOTIONS = [scene.moved(x, y) for x, y in ((0.1, 0), (0.2, 0.1), (0, 0.2), (-0.1, 0.1), (-0.2, -0.1), (0.05, -0.2))]
VIEWS = [scene.image_from(IMAGER, LINES, pose) for pose in MOTIONS]
LIMITS = (0.2, 1.5)


def swept() -> EdgePoints:
    return sweep_edges(IMAGER, HOST, VIEWS, np.stack(MOTIONS), LIMITS)


def test_events_moved_by_the_flow_meet_where_they_were_at_the_images_time() -> None:
    flow = np.array([300.0, 2.0, -1.0, -200.0, 1.0, 3.0])
    t = np.linspace(-0.015, 0.015, 200).astype(np.float32)
    du, dv = 40.0, -25.0
    at = np.array([flow[0] + flow[1] * du + flow[2] * dv, flow[3] + flow[4] * du + flow[5] * dv])
    pixel = np.array([du, dv]) + t[:, None] * at  # first order, as the compensation is
    image = IMAGER.with_flow((pixel / CANVAS.focal).astype(np.float32), t, flow)
    row, column = np.unravel_index(np.argmax(image.band), image.band.shape)
    assert np.allclose([column, row], [CANVAS.centre[0] + du, CANVAS.centre[1] + dv], atol=0.75)
    assert image.num_events == 200


def test_events_moved_by_the_twist_equal_exact_reprojection() -> None:
    twist = np.array([0.3, -0.2, 0.4, 0.5, -0.3, 1.0])
    point = np.array([0.5, -0.3, 2.0])
    t = np.linspace(-0.005, 0.005, 101).astype(np.float32)
    place = np.array([Rotation.from_rotvec(-s * twist[3:]).apply(point - s * twist[:3]) for s in t])
    grid = np.full((CANVAS.height // CELL_PX + 1, CANVAS.width // CELL_PX + 1), 0.5, np.float32)
    image = IMAGER.with_twist((place[:, :2] / place[:, 2:]).astype(np.float32), t, twist, grid)
    still = scene.image_from(IMAGER, np.repeat(point[None], 101, 0), np.eye(4))
    assert np.abs(image.band - still.band).max() < 0.05 * still.band.max()


def test_votes_equal_their_plain_twin() -> None:
    rng = np.random.default_rng(3)
    bearing = rng.uniform(-0.9, 0.9, (500, 2)).astype(np.float32)
    t, flow = rng.uniform(-0.02, 0.02, 500).astype(np.float32), rng.normal(0, 100, 6) / [1, 100, 100, 1, 100, 100]
    votes, plain = np.zeros((2, CANVAS.height, CANVAS.width), np.float32)
    camera = CANVAS.focal, *CANVAS.centre
    vote_flow(bearing, t, np.arange(500), flow, camera, votes)
    du, dv = CANVAS.focal * bearing.T.astype(float)
    x = du + CANVAS.centre[0] - t * (flow[0] + flow[1] * du + flow[2] * dv)
    y = dv + CANVAS.centre[1] - t * (flow[3] + flow[4] * du + flow[5] * dv)
    kept = (x >= 0) & (y >= 0) & (x < CANVAS.width - 1) & (y < CANVAS.height - 1)
    x, y = x[kept], y[kept]
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        place = np.floor(y).astype(int) + row, np.floor(x).astype(int) + column
        np.add.at(plain, place, (1 - abs(place[1] - x)) * (1 - abs(place[0] - y)))
    assert 100 < kept.sum() < 500
    assert np.abs(votes - plain).max() < 1e-4


def test_ridges_lie_on_the_lines() -> None:
    pixel = ridge_points(IMAGER, HOST)
    apart, _ = cKDTree(CANVAS.pixels(LINES[:, :2] / scene.DEPTH)).query(pixel)
    assert len(pixel) > 500
    assert np.median(apart) < 0.15
    assert np.quantile(apart, 0.9) < 0.5


def test_no_events_make_an_empty_image() -> None:
    image = IMAGER.with_flow(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(6))
    assert not image.strength.any()
    assert len(sweep_edges(IMAGER, image, VIEWS, np.stack(MOTIONS), LIMITS)) == 0


def test_grid_keeps_what_is_known_and_fills_the_rest_from_near() -> None:
    pixel = np.array([[20.0, 20.0], [21.0, 20.0], [200.0, 100.0], [-5.0, 3.0]])
    grid = inverse_depth_grid(CANVAS, pixel, np.array([0.4, 0.6, 1.5, 9.0]))
    assert grid[20 // CELL_PX, 20 // CELL_PX] == pytest.approx(0.5, abs=0.01)
    assert grid[100 // CELL_PX, 200 // CELL_PX] == pytest.approx(1.5, abs=0.01)
    assert grid[22 // CELL_PX + 1, 3] == pytest.approx(0.5, abs=0.05)
    assert not inverse_depth_grid(CANVAS, np.zeros((0, 2)), np.zeros(0)).any()


def test_sweep_recovers_the_depth_of_a_plane() -> None:
    points = swept()
    assert len(points) > 200
    error = points.inverse_depth * scene.DEPTH - 1
    assert abs(np.median(error)) < 0.003
    assert np.median(abs(error)) < 0.01
    assert np.mean(abs(error) < 0.05) > 0.9
    assert np.median(abs(error) * points.inverse_depth / points.sigma) < 1
    few = spread(points, 14, 50)
    assert len(few) == 50
    cell = (few.pixel // 14).astype(int)
    assert len(np.unique(cell, axis=0)) == 50


def test_sigma_shrinks_as_the_baseline_grows() -> None:
    short = [scene.moved(x) for x in (0.04, 0.02, 0.03, -0.02, -0.03, -0.04)]
    images = [scene.image_from(IMAGER, LINES, pose) for pose in short]
    near = sweep_edges(IMAGER, HOST, images, np.stack(short), (0.02, 5.0))
    wide = swept()
    assert np.median(near.sigma) > 2 * np.median(wide.sigma)


def test_sweep_equals_its_plain_twin() -> None:
    pixel, rho = ridge_points(IMAGER, HOST)[::50], np.geomspace(*LIMITS, 16)
    bearing = CANVAS.bearings(pixel)
    strength = np.stack([view.strength for view in VIEWS])
    score = np.empty((len(pixel), len(rho)), np.float32)
    settings = tuple(np.float32([CANVAS.focal, *CANVAS.centre, 3]))
    poses = np.stack(MOTIONS).astype(np.float32)
    sweep(bearing.astype(np.float32), rho.astype(np.float32), poses, strength, IMAGER.valid, settings, score)
    total, seen = np.zeros(score.shape), np.zeros(score.shape)
    for pose, image in zip(MOTIONS, strength, strict=True):
        ray = np.column_stack([bearing, np.ones(len(bearing))]) @ pose[:3, :3].T
        point = ray[:, None] + rho[None, :, None] * pose[:3, 3]
        x, y = np.moveaxis(CANVAS.pixels(point[..., :2] / point[..., 2:]), -1, 0)
        inside = (x >= 0) & (y >= 0) & (x < CANVAS.width - 2) & (y < CANVAS.height - 2)
        inside[inside] = IMAGER.valid[y[inside].astype(int), x[inside].astype(int)]
        total += np.where(inside, map_coordinates(image, [y, x], order=1), 0)
        seen += inside
    expected = np.where(seen >= 3, total / np.maximum(seen, 1), 0)
    assert np.mean(np.abs(score - expected) > 1e-3) < 0.01  # float32 may fall on the other side of the border


def test_range_holds_the_sparse_points_without_outliers() -> None:
    inverse_depth = np.append(np.linspace(0.5, 1.0, 101), [0.001, 90.0])
    low, high = sweep_range(inverse_depth, 2.0)
    assert 0.25 < low < 0.27
    assert 1.95 < high < 2.0


def test_peak_is_the_vertex_of_its_parabola() -> None:
    line = 0.8 - 0.01 * (np.arange(40) - 17.3) ** 2
    score = np.stack([line, line[::-1], np.full(40, 0.5)]).clip(0).astype(np.float32)
    place, width, margin = np.zeros(3), np.zeros(3), np.zeros(3)
    peaks(score, 5, 0.3, 0.1, place, width, margin)
    assert np.allclose(place[:2], [17.3, 21.7], atol=1e-3)
    assert np.allclose(width[:2], np.sqrt(0.8 / 0.02), rtol=0.01)
    assert margin[2] == 0


def test_tangent_lies_along_the_line() -> None:
    angle = np.radians(30)
    along = np.linspace(-0.4, 0.4, 400)[:, None] * np.array([np.cos(angle), np.sin(angle)])
    image = scene.image_from(IMAGER, np.column_stack([along, np.ones(400)]), np.eye(4))
    pixel = CANVAS.pixels(along[100:300:20])
    assert np.abs(tangents(image.band, pixel) @ [-np.sin(angle), np.cos(angle)]).max() < 0.05


def test_match_finds_a_known_offset_across_the_edge() -> None:
    points = spread(swept(), 14, 200)
    inner = np.abs(points.pixel - CANVAS.centre).max(1) < 60
    offset = np.array([1.2, -0.8])
    pose = scene.moved(*(offset * scene.DEPTH / CANVAS.focal))
    target = scene.image_from(IMAGER, LINES, pose)
    world = np.column_stack([CANVAS.bearings(points.pixel), np.ones(len(points))])[inner] * scene.DEPTH
    lines = np.column_stack([world, points.tangent[inner]])
    behind = np.column_stack([-world, points.tangent[inner]])
    there, nowhere = match_edges(IMAGER, [behind, lines], [target], [(1, 0), (0, 0)], np.stack([np.eye(4)] * 2), 3)
    pixel, normal, apart, found = there
    assert found.mean() > 0.9
    assert np.allclose(np.linalg.norm(normal[found], axis=1), 1)
    across = ((pixel - points.pixel[inner]) * normal).sum(1)[found]
    error = across - normal[found] @ offset
    assert np.median(abs(error)) < 0.1
    assert np.allclose(apart[found], across, atol=1e-6)
    assert not nowhere.found.any()


def test_alignment_recovers_a_known_motion() -> None:
    pose = scene.moved(0.02, -0.01, 0.03)
    pose[:3, :3] = Rotation.from_rotvec([0.004, -0.006, 0.01]).as_matrix()
    image = scene.image_from(IMAGER, LINES, pose)
    result = align_edges(IMAGER, LINES[::3], np.eye(4), image)
    true, found = (LINES @ each[:3, :3].T + each[:3, 3] for each in (pose, result.T_cam_world))
    error = CANVAS.pixels(true[:, :2] / true[:, 2:]) - CANVAS.pixels(found[:, :2] / found[:, 2:])
    assert np.median(np.linalg.norm(error, axis=1)) < 0.2  # it was 3 pixels
    assert result.score > 0.95 * align_edges(IMAGER, LINES[::3], pose, image).score
    assert np.linalg.eigvalsh(result.hessian).min() > 0


def test_alignment_stays_at_the_true_pose() -> None:
    result = align_edges(IMAGER, LINES[::3], np.eye(4), HOST)
    seen = LINES @ result.T_cam_world[:3, :3].T + result.T_cam_world[:3, 3]
    moved = np.linalg.norm(CANVAS.pixels(seen[:, :2] / seen[:, 2:]) - CANVAS.pixels(LINES[:, :2] / scene.DEPTH), axis=1)
    assert np.median(moved) < 0.05


def test_alignment_gradient_equals_finite_differences() -> None:
    y, x = np.meshgrid(np.arange(CANVAS.height), np.arange(CANVAS.width), indexing="ij")
    slope = 0.002  # a tilted plane: interpolation and slopes are exact
    fields = np.stack([slope * x + 2 * slope * y, 0 * x + slope, 0 * x + 2 * slope], -1).astype(np.float32)
    settings, valid = (CANVAS.focal, *CANVAS.centre, 1e9), np.ones(x.shape, bool)
    points = LINES[(np.abs(LINES[:, :2]) < 0.5).all(1)][::20]
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    linearise(points, np.eye(4), fields, valid, settings, hessian, gradient)

    def cost(twist: np.ndarray) -> float:
        pose = np.eye(4)
        move(pose, twist)
        camera = points @ pose[:3, :3].T + pose[:3, 3]
        u, v = CANVAS.pixels(camera[:, :2] / camera[:, 2:]).T
        return float(0.5 * ((1 - slope * u - 2 * slope * v) ** 2).sum())

    step = 1e-4
    numeric = [(cost(step * axis) - cost(-step * axis)) / (2 * step) for axis in np.eye(6)]
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-3 * np.abs(numeric).max())
