"""Descriptions of places and their matching: invariances, plain twins, known similarities."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from evslam.backend.loop_match import match_views
from evslam.backend.match_kernels import clear_matches, near_matches
from evslam.backend.places import View, Vocabulary, describe
from evslam.backend.sift_kernels import sift_descriptors
from evslam.backend.two_way_fit import Sight, fit_two_ways
from evslam.config import DESCRIPTORS
from evslam.geometry.similarity import Similarity
from tests.map_scenes import CONFIG, FOCAL, cloud

TRUE = Similarity(Rotation.from_rotvec([[0.1, -0.2, 0.05]]).as_matrix(), np.array([[0.3, -0.1, 0.2]]), np.array([1.3]))


def texture(seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 1, (180, 240)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def grid() -> NDArray[np.float64]:
    x, y = np.meshgrid(np.arange(60, 180, 20), np.arange(60, 120, 20))
    return np.column_stack([x.ravel(), y.ravel()]).astype(float)


def unit(rng: np.random.Generator, number: int) -> NDArray[np.float32]:
    vectors = np.abs(rng.normal(0, 1, (number, 128)))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def two_views(rng: np.random.Generator, common: int, others: int = 60) -> tuple[View, View]:
    """Views of a cloud in two cameras' frames, each with noise of 0.5 px and points of its own."""
    points, descriptor = cloud(common), unit(rng, common)
    views = []
    for similarity in (Similarity.of_poses(np.eye(4)[None]), TRUE):
        mine = np.concatenate([similarity.apply(points[None])[0], cloud(others, seed=int(rng.integers(1000)))])
        mine *= 1 + rng.normal(0, 0.01, (len(mine), 1))
        bearing = mine[:, :2] / mine[:, 2:] + rng.normal(0, 0.5 / FOCAL, (len(mine), 2))
        look = np.concatenate([descriptor + rng.normal(0, 0.01, descriptor.shape), unit(rng, others)])
        look = look / np.linalg.norm(look, axis=1, keepdims=True)
        views.append(View(mine, bearing, np.arange(len(mine)), look.astype(np.float32)))
    return views[0], views[1]


@pytest.mark.parametrize("kind", DESCRIPTORS)
def test_description_moves_with_the_image_and_does_not_care_for_contrast(kind: str) -> None:
    image, places, config = texture(), grid(), replace(CONFIG.places, descriptor=kind)
    first = describe(image, places, config)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-2)
    moved = describe(np.roll(image, (3, -8), (0, 1)), places + np.array([-8, 3]), config)
    np.testing.assert_allclose(moved, first, atol=0.02)
    flat = describe((128 + (image.astype(float) - 128) / 2).astype(np.uint8), places, config)
    assert (np.sum(flat * first, 1) > 0.98).all()
    near = describe(image, places + 1.0, config)
    apart = describe(texture(1), places, config)
    assert (np.sum(near * first, 1) > np.sum(apart * first, 1) + 0.05).all()


@pytest.mark.parametrize("size_px", [4.0, 6.0, 7.3])
def test_descriptors_are_those_of_opencv(size_px: float) -> None:
    image, rng = texture(), np.random.default_rng(0)
    pixel = np.concatenate([rng.uniform((0, 0), (239, 179), (200, 2)), [[0, 0], [239, 179], [1, 90]]])
    points = [cv2.KeyPoint(float(x), float(y), size_px, 0.0) for x, y in pixel]
    _, expected = cv2.SIFT.create().compute(image, points)
    found = sift_descriptors(image, pixel, size_px)
    assert np.abs(found - expected).max() <= 1  # both are rounded
    assert (found == expected).mean() > 0.999
    assert found.shape == (203, 128)
    assert sift_descriptors(image, pixel[:0], size_px).shape == (0, 128)


def test_description_tells_the_direction_of_a_gradient() -> None:
    ramp = np.tile(np.arange(240, dtype=np.uint8), (180, 1))
    bins = describe(ramp, np.array([[120.0, 90.0]]), CONFIG.places)[0].reshape(16, 8) ** 2
    np.testing.assert_allclose(bins.sum(0) / bins.sum(), np.eye(8)[0], atol=0.02)
    assert describe(ramp, np.zeros((0, 2)), CONFIG.places).shape == (0, 128)


def test_summaries_tell_views_apart() -> None:
    rng = np.random.default_rng(0)
    scenes = [unit(rng, 300) for _ in range(20)]
    vocabulary = Vocabulary(np.concatenate(scenes), 8, 0)
    summaries = np.stack([vocabulary.summary(scene) for scene in scenes])
    np.testing.assert_allclose(np.linalg.norm(summaries, axis=1), 1, atol=1e-5)
    half = np.stack([vocabulary.summary(np.concatenate([scene[:150], unit(rng, 150)])) for scene in scenes])
    assert (np.argmax(half @ summaries.T, 1) == np.arange(20)).all()


def test_clear_matches_equal_a_plain_search() -> None:
    rng = np.random.default_rng(1)
    one, other = unit(rng, 40), unit(rng, 50)
    other[:20] = one[:20] + rng.normal(0, 0.02, (20, 128))
    alike = (one @ other.T).astype(np.float32)
    expected = []
    for i in range(40):
        order = np.argsort(-alike[i])
        clear = 1 - alike[i, order[0]] < 0.81 * (1 - alike[i, order[1]])
        if clear and np.argmax(alike[:, order[0]]) == i:
            expected.append((i, order[0]))
    assert clear_matches(alike, 0.9).tolist() == [list(map(int, pair)) for pair in expected]
    assert len(expected) >= 20


def test_near_matches_equal_a_plain_search() -> None:
    rng = np.random.default_rng(2)
    alike = rng.random((30, 40)).astype(np.float32)
    place, new_place = rng.random((30, 2)), rng.random((40, 2))
    place[3] = np.nan
    apart = np.linalg.norm(place[:, None] - new_place[None], axis=2)
    allowed = np.where((apart < 0.2) & (alike > 0.5), alike, -1)
    expected = [
        [i, int(np.argmax(allowed[i]))]
        for i in range(30)
        if allowed[i].max() > 0 and np.argmax(allowed[:, np.argmax(allowed[i])]) == i
    ]
    assert near_matches(alike, place, new_place, 0.2, 0.5).tolist() == expected
    assert expected


def test_fit_finds_a_known_similarity_among_outliers() -> None:
    rng = np.random.default_rng(3)
    points = cloud(80)
    moved = TRUE.apply(points[None])[0]
    old = Sight(points, points[:, :2] / points[:, 2:])
    new = Sight(moved, moved[:, :2] / moved[:, 2:])
    new.bearing[:15] += rng.uniform(-0.15, 0.15, (15, 2))
    start = TRUE.retract(np.array([[0.1, -0.1, 0.1, 0.05, 0.05, -0.05, 0.2]]))
    found, error_px = fit_two_ways(start, old, new, FOCAL, 1.5)
    np.testing.assert_allclose((found.inverse() @ TRUE).chart(), 0, atol=1e-3)
    assert error_px[:, 15:].max() < 0.2


def test_views_of_one_place_are_matched_and_others_are_not() -> None:
    rng = np.random.default_rng(4)
    old, new = two_views(rng, 100)
    found = match_views(old, new, FOCAL, CONFIG.loop)
    assert found is not None
    error = (found.new_from_old.inverse() @ TRUE).chart()[0]
    assert np.abs(error[:3]).max() < 0.03
    assert np.abs(error[3:]).max() < 0.02
    assert (found.rows[:, 0] == found.rows[:, 1]).mean() > 0.95
    assert match_views(old, two_views(np.random.default_rng(5), 100)[1], FOCAL, CONFIG.loop) is None


@pytest.mark.parametrize("common", [0, 5, 30])
def test_too_little_in_common_is_no_loop(common: int) -> None:
    old, new = two_views(np.random.default_rng(6), common)
    assert match_views(old, new, FOCAL, CONFIG.loop) is None
