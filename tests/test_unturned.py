"""A camera that does not turn is told from one that turns a little by what a map without turns explains."""

from __future__ import annotations

import logging
from dataclasses import replace

import edge_scene as scene
import numpy as np
import pytest
from map_scenes import project
from scipy.spatial.transform import Rotation

from evslam import reconstruction
from evslam.backend.refinement import ALL, Adjustment, Scope, refine_map
from evslam.config import load_config
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_tracks import link_edges, sweep_keyframe
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame
from evslam.unturned import turned_deg, without_turning

DEFAULT = load_config()
CONFIG = replace(
    DEFAULT,
    link=replace(DEFAULT.link, offsets=(-3, -1, 1, 3), revisits=0),
    loop=replace(DEFAULT.loop, use=False),
    refine=replace(DEFAULT.refine, held_out=(-2, 2)),
)
IMAGER = scene.imager()
RAIL = [(0.05 * k, 0.01 * k) for k in range(7)]


def rail_map(turns_deg: list[float], told_deg: list[float]) -> SparseMap:
    """Keyframes along a rail, turned about the axis of view as they are and as the map has them."""
    map_, lines = SparseMap(), scene.lines()
    points = lines[::150]
    map_.add_landmarks(points, np.arange(len(points)))
    for number, (x, y) in enumerate(RAIL):
        true, told = (turned(by[number], x, y) for by in (turns_deg, told_deg))
        frame = PointFrame(number * 100_000, np.arange(len(points)), project(true, points))
        keyframe = map_.add_keyframe(frame, told, np.ones(len(points), bool))
        keyframe.image = scene.image_from(IMAGER, lines, true)
    for index in range(len(RAIL)):
        sweep_keyframe(map_, index, IMAGER, CONFIG.link)
    return map_


def turned(by_deg: float, x: float, y: float) -> np.ndarray:
    """(4, 4) T_cam_world at a place, after a turn about the axis of view."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", by_deg, degrees=True).as_matrix()
    return pose @ scene.moved(-x, -y)


def adjusted(map_: SparseMap, scope: Scope = ALL) -> Adjustment:
    """As `evslam.reconstruction` does it."""

    def link(views: list[int], is_free: np.ndarray) -> object:
        return link_edges(map_, views, is_free, IMAGER, CONFIG.link, match_edges)

    return refine_map(map_, link, scene.CAMERA.fx, CONFIG.window, CONFIG.refine, scope)  # type: ignore[arg-type]


def test_a_camera_on_a_rail_is_found_not_to_turn() -> None:
    told = [0.0, 0.2, -0.3, 0.1, 0.4, -0.2, 0.3]
    map_ = rail_map([0.0] * 7, told)
    free = adjusted(map_)
    before = [keyframe.T_cam_world.copy() for keyframe in map_.keyframes]
    still = without_turning(map_, IMAGER, CONFIG, free, adjusted)
    assert still is not None
    assert turned_deg(still) < 1e-9
    for keyframe, pose in zip(map_.keyframes, before, strict=True):
        assert np.array_equal(keyframe.T_cam_world, pose)
    places = np.stack([np.linalg.inv(keyframe.T_cam_world)[:2, 3] for keyframe in still.keyframes])
    places *= np.linalg.norm(RAIL[-1]) / np.linalg.norm(places[-1])
    assert np.abs(places - RAIL).max() < 0.002


@pytest.mark.parametrize("last_deg", [2.0, 3.5])
def test_a_camera_that_turns_a_little_keeps_its_turns(last_deg: float) -> None:
    turns = [last_deg * k / 6 for k in range(7)]
    map_ = rail_map(turns, turns)
    free = adjusted(map_)
    assert turned_deg(map_) == pytest.approx(last_deg, abs=0.1)
    assert without_turning(map_, IMAGER, CONFIG, free, adjusted) is None


def test_it_is_not_even_tried_where_the_camera_turned_much_or_nothing_was_adjusted() -> None:
    def never(_: SparseMap, __: Scope) -> Adjustment:
        raise AssertionError("adjusted")

    turns = [1.0 * k for k in range(7)]
    map_ = rail_map(turns, turns)
    free = adjusted(map_)
    assert without_turning(map_, IMAGER, CONFIG, free, never) is None
    assert without_turning(rail_map([0.0] * 7, [0.0] * 7), IMAGER, CONFIG, Adjustment([[]], 0.0), never) is None
    map_.give()
    assert without_turning(map_, IMAGER, CONFIG, free, never) is None


def test_a_refinement_says_so(caplog: pytest.LogCaptureFixture) -> None:
    map_ = rail_map([0.0] * 7, [0.0, 0.2, -0.3, 0.1, 0.4, -0.2, 0.3])
    with caplog.at_level(logging.INFO):
        done = reconstruction.refine(map_, [], IMAGER, CONFIG)
    assert done.figures()["is_unturned"] is True
    assert turned_deg(map_) < 1e-9
    assert "not to have turned at all" in caplog.text
