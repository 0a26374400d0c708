"""Hulls, groups and spread of points on the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evslam.tracking.hulls import are_near, core_of, groups_of, num_cells, within_hull

PLACES = arrays(np.float64, st.tuples(st.integers(3, 20), st.just(2)), elements=st.integers(-50, 50).map(float))
SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10], [5, 5]])


def test_a_hull_holds_what_is_inside_and_just_outside() -> None:
    place = np.array([[5.0, 5], [10, 10], [11.5, 5], [12.5, 5], [-1.5, -1.5], [-3, 5]])
    np.testing.assert_array_equal(within_hull(SQUARE, place, 2.0), [True, True, True, False, True, False])
    np.testing.assert_array_equal(within_hull(SQUARE[::-1], place, 2.0), [True, True, True, False, True, False])


def test_two_points_have_no_hull() -> None:
    assert not within_hull(SQUARE[:2], SQUARE, 5.0).any()


@given(PLACES)
def test_the_corners_lie_in_their_hull(place: np.ndarray) -> None:
    assert within_hull(place, place, 1e-3).all()


@given(PLACES, arrays(np.float64, 2, elements=st.integers(-20, 20).map(float)))
def test_a_shift_changes_nothing(place: np.ndarray, shift: np.ndarray) -> None:
    others = SQUARE + 0.5
    np.testing.assert_array_equal(within_hull(place, others, 1.0), within_hull(place + shift, others + shift, 1.0))


def test_the_core_leaves_out_what_is_far() -> None:
    place = np.concatenate([SQUARE, [[100.0, 100.0]]])
    np.testing.assert_array_equal(core_of(place), [True] * 5 + [False])


def test_groups_are_parted_by_gaps() -> None:
    place = np.array([[0.0, 0], [3, 0], [6, 0], [20, 0], [23, 0]])
    assert [rows.tolist() for rows in groups_of(place, 4.0)] == [[0, 1, 2], [3, 4]]
    assert groups_of(np.zeros((0, 2)), 4.0) == []


def test_cells_count_once() -> None:
    assert num_cells(np.array([[1.0, 1], [39, 39], [41, 1], [-1, 1]])) == 3
    assert num_cells(np.zeros((0, 2))) == 0


def test_near_is_within_the_radius() -> None:
    place = np.array([[0.0, 0], [0, 4.9], [0, 5.1]])
    np.testing.assert_array_equal(are_near(place, place[:1], 5.0), [True, True, False])
    assert not are_near(place, np.zeros((0, 2)), 5.0).any()
