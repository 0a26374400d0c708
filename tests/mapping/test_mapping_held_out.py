"""Edges held out of an adjustment tell whether it was for the better; dense pulls on edges, which they compare."""

from __future__ import annotations

import logging
from dataclasses import replace

import edge_scene as scene
import numpy as np
import pytest
import torch
from test_mapping_edge_tracks import CENTRES, IMAGER, LINES, swept_map

from evslam import reconstruction
from evslam.backend.refinement import Adjustment
from evslam.backend.window import adjust_window, choose_window
from evslam.config import load_config
from evslam.mapping.edge_ascent import _strength_and_slope, climb_edges, contrast_image
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_tracks import link_edges
from evslam.mapping.held_out import Agreement, agreement, held_out
from evslam.multiview.sparse_map import SparseMap
from evslam.ops.reference import value as kernel_value

HELD_OUT = (-2, 2)
DEFAULT = load_config()
LINK = replace(DEFAULT.link, offsets=(-3, -1, 1, 3), revisits=0)
CONFIG = replace(
    DEFAULT,
    link=LINK,
    loop=replace(DEFAULT.loop, use=False),
    refine=replace(DEFAULT.refine, held_out=HELD_OUT, min_held_out=100),
)


def disturbed(by: float) -> SparseMap:
    """Edges as the true poses tell them, then every second keyframe moved sideways."""
    map_ = swept_map()
    for keyframe in map_.keyframes[1::2]:
        keyframe.T_cam_world = scene.moved(by, -by) @ keyframe.T_cam_world
    return map_


def centres(map_: SparseMap) -> np.ndarray:
    return np.stack([np.linalg.inv(keyframe.T_cam_world)[:2, 3] for keyframe in map_.keyframes])


def test_held_out_edges_tell_how_far_off_poses_are() -> None:
    exact = held_out(swept_map(), IMAGER, (-1, 1))
    assert set(exact) == {(k, k + step) for k in range(7) for step in (-1, 1) if 0 <= k + step < 7}
    for by in (0.005, 0.01):  # half a pixel and one, along x and along y
        judged = agreement(held_out(disturbed(by), IMAGER, (-1, 1)), exact)
        assert judged.number > 1000
        assert judged.after_px < 0.25
        assert judged.before_px == pytest.approx(100 * by, rel=0.3)  # of both components the one across the edge


def test_only_edges_found_both_times_are_compared() -> None:
    before = {
        (0, 1): (np.array([1 + 2j, 3 + 4j, 5 + 6j]), np.array([3.0, 0.0, 0.5])),
        (0, 2): (np.zeros(0), np.zeros(0)),
    }
    after = {(0, 1): (np.array([5 + 6j, 3 + 4j]), np.array([-0.5, 0.0])), (4, 5): (np.array([1j]), np.array([9.0]))}
    judged = agreement(before, after)
    assert judged.number == 2
    assert judged.before_px == pytest.approx(np.sqrt(np.sqrt(1.25) - 1))  # mean of log(1) and log(1.25)
    assert judged.after_px == judged.before_px
    assert agreement(before, {}).number == 0


def test_the_verdict_goes_by_the_offset_and_needs_enough_edges() -> None:
    assert Agreement(500, 0.5, 0.4).verdict(200, 1.0) == "accepted"
    assert Agreement(500, 0.4, 0.5).verdict(200, 1.0) == "rejected"
    assert Agreement(500, 0.4, 0.5).verdict(200, 1.24) == "rejected"
    assert Agreement(500, 0.4, 0.5).verdict(200, 1.26) == "accepted"
    assert Agreement(199, 0.4, 0.5).verdict(200, 1.0) == "unchecked"
    assert Agreement(0, np.nan, np.nan).verdict(200, 1.3) == "unchecked"


def test_a_refinement_that_helps_is_accepted_and_tells_its_costs() -> None:
    map_ = disturbed(0.006)
    done = reconstruction.refine(map_, [], IMAGER, CONFIG)
    assert done.status == "accepted"
    assert done.held_out.after_px < 0.8 * done.held_out.before_px
    assert len(done.costs) == CONFIG.refine.rounds
    for status, cost in done.costs:
        assert status in ("converged", "max_iterations", "stalled")
        assert (np.diff(cost) < 0).all()
    assert done.figures()["held_out_edges"]["number"] == done.held_out.number
    apart = centres(map_) - centres(map_)[0] - np.array(CENTRES)
    assert np.abs(apart).max() < 0.004


def test_a_refinement_that_harms_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    map_ = swept_map()
    kept: list[SparseMap] = []

    def spoil(map_: SparseMap, *_: object) -> Adjustment:
        kept.append(map_.copy())
        map_.remove_landmarks(np.arange(10))
        for keyframe in map_.keyframes[:3]:
            keyframe.T_cam_world = scene.moved(0.01) @ keyframe.T_cam_world
            assert keyframe.edges is not None
            keyframe.edges = keyframe.edges[np.arange(60)]
        return Adjustment([], 0.0)

    monkeypatch.setattr(reconstruction, "_adjust", spoil)
    with caplog.at_level(logging.WARNING):
        assert reconstruction.refine(map_, [], IMAGER, CONFIG).status == "rejected"
    assert "taken back" in caplog.text
    assert map_.alive.all()
    for mine, its in zip(map_.keyframes, kept[0].keyframes, strict=True):
        assert np.array_equal(mine.T_cam_world, its.T_cam_world)
        assert np.array_equal(mine.landmark, its.landmark)
        assert np.array_equal(mine.usable, its.usable)
        assert mine.edges is not None
        assert its.edges is not None
        assert np.array_equal(mine.edges.inverse_depth, its.edges.inverse_depth)


def test_strength_is_that_of_linear_bins_and_slope_that_of_their_functional_kernel() -> None:
    """Against plain sums over all pixels, with the kernels of the reference twin."""
    rng = np.random.default_rng(3)
    image, pixel = rng.normal(size=(9, 11)), rng.uniform(2.5, 6.5, (20, 2))
    strength, slope = _strength_and_slope(pixel, image)
    x, y = torch.tensor(pixel[:, :1]) - torch.arange(11), torch.tensor(pixel[:, 1:]) - torch.arange(9)
    k = [kernel_value("linear", each).numpy() for each in (x, y)]
    assert np.abs(strength - np.einsum("nx,ny,yx->n", *k, image)).max() < 1e-12
    step = 1e-5
    for axis, moved in enumerate(((x, y), (y, x))):
        across = (_smooth(moved[0] + step) - _smooth(moved[0] - step)) / (2 * step)
        along = _smooth(moved[1])
        parts = (across, along) if axis == 0 else (along, across)
        assert np.abs(slope[:, axis] - np.einsum("nx,ny,yx->n", *parts, image)).max() < 1e-6


def _smooth(x: torch.Tensor) -> np.ndarray:
    """l * k of linear reconstruction and linear bins: the cubic B-spline."""
    return np.asarray(kernel_value("cubic", x).numpy())


def test_one_dense_step_goes_towards_the_ridge() -> None:
    map_ = swept_map()
    host, target = map_.keyframes[2], map_.keyframes[3]
    assert host.edges is not None
    lines, pose = host.edges.lines(IMAGER.canvas), target.T_cam_world @ np.linalg.inv(host.T_cam_world)
    for by in (0.006, -0.006):
        args = IMAGER, [lines], [target.image], [(0, 0)], (scene.moved(by, by) @ pose)[None], 4
        climbed, found = climb_edges(*args)[0], match_edges(*args)[0]
        both = climbed.found & found.found
        assert both.sum() > 100
        unit = climbed.normal[both] / np.linalg.norm(climbed.normal[both], axis=1, keepdims=True)
        towards = (unit * found.normal[both]).sum(1) * found.offset[both]
        far = np.abs(found.offset[both]) > 0.3
        assert (towards[far] > 0).mean() > 0.9
        assert not climbed.normal[~climbed.found].any()


def test_dense_pulls_bring_a_disturbed_keyframe_back() -> None:
    """With only a few noisy landmarks, they make the pose better than the landmarks can."""
    errors = []
    for dense in (False, True):
        map_, rng = swept_map(), np.random.default_rng(4)
        for keyframe in map_.keyframes:
            keyframe.bearing += rng.normal(0, 0.8 / IMAGER.canvas.focal, keyframe.bearing.shape)
        map_.keyframes[5].T_cam_world = scene.moved(0.004, -0.004, 0.004) @ map_.keyframes[5].T_cam_world
        for _ in range(4):
            window = choose_window(map_, replace(DEFAULT.window, keyframes=3))
            links = link_edges(map_, window.views, window.is_free, IMAGER, LINK, climb_edges) if dense else None
            adjust_window(map_, window, IMAGER.canvas.focal, DEFAULT.window, links)
        errors.append(np.abs(centres(map_) - np.array(CENTRES))[4:].max())
    assert errors[1] < 0.7 * errors[0]


def test_the_image_that_is_climbed_is_highest_on_the_edges() -> None:
    image = contrast_image(scene.image_from(IMAGER, LINES, scene.moved()).levels[-1])
    on = IMAGER.canvas.pixels(LINES[::7, :2] / scene.DEPTH)
    seen = [p for p in np.round(on).astype(int) if IMAGER.valid[p[1], p[0]]]
    assert np.median([image[y, x] for x, y in seen]) > 0.5
    assert np.median(image[IMAGER.valid]) < 0.1
