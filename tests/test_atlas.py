"""Maps that are not being tracked: which are given up when an object turns out to have been followed."""

from __future__ import annotations

import map_scenes as scene
import numpy as np
import pytest

from evslam.atlas import Atlas
from evslam.beside import at_once
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame

POINTS = scene.cloud()
SECOND = 1_000_000


@pytest.fixture
def atlas() -> Atlas:
    return Atlas(scene.CONFIG, EdgeImager(scene.CANVAS, scene.CONFIG.edges), at_once)


def lived(begin_s: float, end_s: float) -> tuple[SparseMap, list[PointFrame]]:
    """A map of two keyframes that knows the even tracks, and six frames with all."""
    map_, poses, rng = SparseMap(), scene.arc(2), np.random.default_rng(0)
    even = np.arange(len(POINTS)) % 2 == 0
    map_.add_landmarks(POINTS[even], np.flatnonzero(even))
    for t_s, pose in zip((begin_s, end_s), poses, strict=True):
        map_.add_keyframe(scene.point_frame(round(t_s * SECOND), pose, POINTS, rng, 0), pose, even)
    times = np.linspace(begin_s, end_s, 6)
    return map_, [scene.point_frame(round(t_s * SECOND), poses[0], POINTS, rng, 0) for t_s in times]


def test_maps_that_began_lately_or_were_lost_young_are_given_up_with_all_that_was_tracked(atlas: Atlas) -> None:
    # the first was young, but one that was old came after it
    spans = [(0.0, 1.0), (2.0, 7.0), (8.0, 9.5), (11.0, 16.0)]
    for begin_s, end_s in spans:
        atlas.put_away(*lived(begin_s, end_s), 2)
    frames = atlas.give_up(10 * SECOND, 3 * SECOND)
    assert [segment.map.keyframes[0].t_us for segment in atlas.segments] == [0, 2 * SECOND]
    assert [frame.t_us for frame in frames] == [round(t * SECOND) for s in spans[2:] for t in np.linspace(*s, 6)]
    assert all(len(frame.ids) == len(POINTS) for frame in frames)


def test_the_last_frames_before_a_loss_are_kept_without_what_the_map_knew(atlas: Atlas) -> None:
    atlas.put_away(*lived(0.0, 1.0), 2)
    assert [len(frame.ids) for frame in atlas.segments[0].frames] == [120, 120, 120, 120, 60, 60]
    assert [len(frame.ids) for frame in atlas.segments[0].tracked()] == [120] * 6


def test_a_given_map_is_never_given_up(atlas: Atlas) -> None:
    map_, _ = lived(0.0, 1.0)
    map_.give()
    atlas.give(map_)
    assert atlas.give_up(0, 3 * SECOND) == []
    assert len(atlas.segments) == 1
