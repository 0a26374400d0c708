"""Keyframes by what they look like: the right ones first, words that are learned anew, keyframes that are gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evslam.backend.look_index import LookIndex
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame
from tests.map_scenes import CONFIG

PLACES = replace(CONFIG.places, min_gap=5)


def looks(number: int, place: int) -> np.ndarray:
    """Descriptors (40, 128) of a place, noisy."""
    rng, noise = np.random.default_rng(place), np.random.default_rng(1000 + number)
    found = np.abs(rng.normal(0, 1, (40, 128))) + 0.3 * noise.random((40, 128))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def add(map_: SparseMap, place: int) -> None:
    number = map_.keyframes[-1].t_us + 1 if map_.keyframes else 0
    frame = PointFrame(number, np.zeros(0, np.int64), np.zeros((0, 2)))
    map_.add_keyframe(frame, np.eye(4), np.zeros(0, bool)).look = looks(number, place)


def walk(places: list[int]) -> SparseMap:
    map_ = SparseMap()
    for place in places:
        add(map_, place)
    return map_


def alike(index: LookIndex, map_: SparseMap, new: int) -> list[int]:
    index.update(map_)
    return index.alike(new, PLACES)


def test_places_seen_before_come_first_and_others_do_not_come() -> None:
    map_ = walk([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 1, 1])
    index = LookIndex(4, 0)
    assert set(alike(index, map_, 13)[:2]) == {2, 3}
    assert alike(index, map_, 11) == []


def test_words_are_learned_anew_with_twice_as_many_keyframes() -> None:
    map_, index = walk([0, 1, 2, 3, 4, 5, 6, 7]), LookIndex(4, 0)
    alike(index, map_, 7)
    words = index.vocabulary
    for place in range(8, 15):
        add(map_, place)
        alike(index, map_, place)
        assert index.vocabulary is words
    add(map_, 15)
    alike(index, map_, 15)
    assert index.learned_from == 16
    assert index.vocabulary is not words


def test_keyframes_that_are_gone_are_forgotten() -> None:
    map_, index = walk([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 1, 1]), LookIndex(4, 0)
    alike(index, map_, 13)
    del map_.keyframes[2]
    assert alike(index, map_, 12)[0] == 2  # that was 3
    add(map_, 1)
    assert alike(index, map_, 13)[0] == 2  # the new one takes the room of the one that is gone


def test_keyframes_without_a_look_are_passed_over() -> None:
    map_, index = walk([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 1, 1]), LookIndex(4, 0)
    map_.keyframes[2].look = None
    assert alike(index, map_, 13)[0] == 3
    map_.keyframes[13].look = np.zeros((0, 128), np.float16)
    assert alike(index, map_, 13) == []


def test_an_image_is_looked_up_among_all_keyframes_or_older_ones() -> None:
    map_, index = walk([0, 1, 2, 3, 1, 2, 0, 3]), LookIndex(4, 0)
    assert index.nearest(looks(99, 2).astype(np.float32), 2) == []
    index.update(map_)
    found = looks(99, 2).astype(np.float32)
    assert set(index.nearest(found, 2)) == {2, 5}
    assert index.nearest(found, 2, before=5)[0] == 2
    assert max(index.nearest(found, 9, before=5)) == 4
    assert index.nearest(found[:0], 2) == []
