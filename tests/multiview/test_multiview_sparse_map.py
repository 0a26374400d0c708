"""Keyframes, landmarks and tracks stay consistent through adding, unlinking and removing."""

from __future__ import annotations

import map_scenes as scene
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.geometry.similarity import Similarity
from evslam.multiview.anchored import AnchoredPoses
from evslam.multiview.edges import EdgePoints
from evslam.multiview.keyframe import rows_of
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame


def frame(t_us: int, ids: list[int]) -> PointFrame:
    numbers = np.array(ids, np.int64)
    return PointFrame(t_us, numbers, np.stack([numbers / 100, numbers / 1000 + t_us], 1))


def make_map() -> SparseMap:
    """Tracks 3, 5, 8 have the landmarks 0, 1, 2; keyframes see 3, 5, 7 and 5, 7, 8."""
    map_ = SparseMap()
    index = map_.add_landmarks(np.array([[0.0, 0, 2], [1, 0, 3], [0, 1, 4]]), np.array([3, 5, 8]))
    assert index.tolist() == [0, 1, 2]
    map_.add_keyframe(frame(0, [3, 5, 7]), np.eye(4), np.array([True, True, True]))
    map_.add_keyframe(frame(1, [5, 7, 8]), np.eye(4), np.array([True, True, False]))
    return map_


def test_rows_of_ids() -> None:
    row, there = rows_of(np.array([2, 4, 9]), np.array([9, 3, 2, 100, 0]))
    assert there.tolist() == [True, False, True, False, False]
    assert row[there].tolist() == [2, 0]
    assert rows_of(np.zeros(0, np.int64), np.array([1, 2]))[1].tolist() == [False, False]


def test_a_keyframe_sees_the_landmarks_of_its_inliers() -> None:
    map_ = make_map()
    assert map_.landmarks(np.array([3, 5, 7, 8, 5000])).tolist() == [0, 1, -1, 2, -1]
    assert map_.keyframes[0].landmark.tolist() == [0, 1, -1]
    assert map_.keyframes[1].landmark.tolist() == [1, -1, -1]  # the last is no inlier


def test_an_unlinked_track_leaves_its_landmark_to_the_keyframes_that_saw_it() -> None:
    map_ = make_map()
    map_.unlink(np.array([5]))
    assert map_.landmarks(np.array([3, 5])).tolist() == [0, -1]
    assert map_.keyframes[0].landmark.tolist() == [0, 1, -1]
    assert map_.keyframes[0].usable.tolist() == [True, False, True]
    assert map_.keyframes[1].usable.tolist() == [False, True, True]
    map_.unlink(np.array([9999]))
    assert map_.alive.all()


def test_forgetting_only_bars_past_observations_from_triangulation() -> None:
    map_ = make_map()
    map_.forget(np.array([7]))
    later = map_.add_keyframe(frame(2, [7]), np.eye(4), np.array([True]))
    assert [keyframe.usable.tolist() for keyframe in map_.keyframes[:2]] == [[True, True, False], [True, False, True]]
    assert later.usable.tolist() == [True]


def test_a_removed_landmark_is_seen_by_nobody_and_its_track_is_free() -> None:
    map_ = make_map()
    map_.remove_landmarks(np.array([1]))
    assert map_.alive.tolist() == [True, False, True]
    assert map_.landmarks(np.array([3, 5, 8])).tolist() == [0, -1, 2]
    assert map_.keyframes[0].landmark.tolist() == [0, -1, -1]
    assert map_.keyframes[1].landmark.tolist() == [-1, -1, -1]
    assert map_.keyframes[0].usable.tolist() == [True, False, True]
    again = map_.add_landmarks(np.array([[1.0, 0, 3.1]]), np.array([5]))
    assert again.tolist() == [3]
    assert map_.landmarks(np.array([5])).tolist() == [3]


def test_removing_nothing_from_an_empty_map() -> None:
    map_ = SparseMap()
    map_.add_keyframe(frame(0, [1, 2]), np.eye(4), np.array([True, True]))
    map_.remove_landmarks(np.zeros(0, np.int64))
    assert map_.keyframes[0].landmark.tolist() == [-1, -1]


def test_observations_are_numbered_in_the_order_asked_for() -> None:
    map_ = make_map()
    map_.keyframes[1].landmark[2] = 2
    found = map_.observations([1, 0], np.array([2, 1]))
    assert found.view.tolist() == [0, 0, 1]
    assert found.point.tolist() == [0, 1, 1]
    assert found.bearing.tolist() == [[0.08, 1.008], [0.05, 1.005], [0.05, 0.005]]
    assert len(map_.observations([0], np.array([2]))) == 0


def test_a_snapshot_does_not_change_with_the_map() -> None:
    map_ = make_map()
    view = map_.snapshot()
    map_.unlink(np.array([3]))
    map_.points += 1
    map_.remove_landmarks(np.array([2]))
    assert view.landmarks(np.array([3, 5, 8])).tolist() == [0, 1, 2]
    assert view.points[0].tolist() == [0, 0, 2]
    assert view.alive.all()
    view.unlink(np.array([5]))
    assert map_.landmarks(np.array([5])).tolist() == [1]


@pytest.mark.parametrize("largest", [1023, 1024, 3000, 10**6])
def test_room_grows_with_the_numbers_of_tracks(largest: int) -> None:
    map_ = make_map()
    assert map_.landmarks(np.array([3, largest])).tolist() == [0, -1]
    map_.add_landmarks(np.ones((1, 3)), np.array([largest]))
    assert map_.landmarks(np.array([largest, largest + 1])).tolist() == [3, -1]


def test_joined_landmarks_are_one_for_tracks_and_keyframes() -> None:
    map_ = make_map()
    map_.join_landmarks(np.array([0, 1]), np.array([1, 0]))
    assert map_.landmarks(np.array([3, 5, 8])).tolist() == [0, 0, 2]
    assert map_.keyframes[0].landmark.tolist() == [0, 0, -1]
    assert map_.keyframes[1].landmark.tolist() == [0, -1, -1]
    assert map_.alive.tolist() == [True, False, True]
    assert len(map_.observations([0, 1], np.array([0, 2]))) == 3


def test_landmarks_join_in_chains_and_once_only() -> None:
    map_ = make_map()
    map_.join_landmarks(np.array([1, 0, 1]), np.array([2, 1, 0]))  # 2 goes into 1, 1 into 0; then 1 is gone
    assert map_.alive.tolist() == [True, False, False]
    assert map_.landmarks(np.array([3, 5, 8, 9])).tolist() == [0, 0, 0, -1]


def test_an_appended_map_keeps_what_its_keyframes_and_tracks_see() -> None:
    map_, other = make_map(), make_map()
    other._landmark_of_track = np.full(1024, -1, np.int64)
    other.link(np.array([103, 105]), np.array([0, 2]))
    other.revisits, other.keyframes[1].stretch, other.stretch = [(0, 1)], 1, 1
    seen = [keyframe.landmark.tolist() for keyframe in other.keyframes]
    map_.append(other)
    assert len(map_.keyframes) == 4
    assert map_.points.tolist() == [*map_.points[:3].tolist(), *other.points.tolist()]
    assert map_.landmarks(np.array([3, 5, 8, 103, 105])).tolist() == [0, 1, 2, 3, 5]
    for keyframe, before in zip(map_.keyframes[2:], seen, strict=True):
        assert keyframe.landmark.tolist() == [each + 3 if each >= 0 else -1 for each in before]
    assert map_.revisits == [(2, 3)]
    assert [keyframe.stretch for keyframe in map_.keyframes] == [0, 0, 1, 2]
    assert map_.stretch == 2
    pairs = [(0, 1), (1, 2), (2, 3), (3, 3), (-1, 0), (3, 4)]
    assert [map_.are_neighbours(*pair) for pair in pairs] == [True, False, False, True, False, False]


def test_a_map_handed_over_knows_no_track() -> None:
    map_ = make_map()
    map_.give()
    assert map_.num_given == 2
    assert (map_.landmarks(np.arange(10)) == -1).all()


def test_a_moved_map_shows_the_same() -> None:
    map_ = scene.true_map(3, scene.cloud())
    edges = EdgePoints(np.full((3, 2), 50.0), np.ones(3), np.full(3, 0.1), np.zeros((3, 2)), np.ones(3))
    map_.keyframes[1].edges = edges
    before = [scene.project(keyframe.T_cam_world, map_.points) for keyframe in map_.keyframes]
    points, edge_points = map_.points, map_.keyframes[1].edge_points(scene.CANVAS)
    turn = Rotation.from_rotvec([[0.3, -1.0, 0.2]]).as_matrix()
    moved = Similarity(turn, np.array([[1.0, 2.0, 3.0]]), np.array([0.4]))
    map_.move(moved)
    np.testing.assert_allclose(map_.points, moved.apply(points[None])[0])
    np.testing.assert_allclose(map_.keyframes[1].edge_points(scene.CANVAS), moved.apply(edge_points[None])[0])
    for keyframe, seen in zip(map_.keyframes, before, strict=True):
        np.testing.assert_allclose(scene.project(keyframe.T_cam_world, map_.points), seen, atol=1e-9)


def test_a_keyframe_that_is_taken_out_takes_what_it_alone_sees_and_parts_its_neighbours() -> None:
    map_ = make_map()
    map_.add_keyframe(PointFrame(7, np.array([3, 9]), np.zeros((2, 2))), np.eye(4), np.array([True, False]))
    map_.keyframes[1].landmark[:] = [0, 2, -1]
    map_.revisits = [(0, 1), (0, 2)]
    map_.remove_keyframe(1)
    assert [keyframe.t_us for keyframe in map_.keyframes][-1] == 7
    assert map_.alive.tolist() == [True, True, False]
    assert map_.landmarks(np.array([8])).tolist() == [-1]
    assert not map_.are_neighbours(0, 1)
    assert map_.stretch == map_.keyframes[1].stretch
    assert map_.revisits == [(0, 1)]


def test_poses_that_hang_on_a_keyframe_go_where_it_goes() -> None:
    map_ = make_map()
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, 3] = (0.5, 0.0, 1.0)
    anchored = AnchoredPoses.to(map_.keyframes[0], np.array([10, 20]), poses)
    both = anchored.join(AnchoredPoses.to(map_.keyframes[1], np.array([30]), poses[1:]))
    np.testing.assert_allclose(both.poses(map_.keyframes), poses[[0, 1, 1]], atol=1e-12)
    turn = Rotation.from_rotvec([[0.1, 0.2, 0.3]]).as_matrix()
    world = Similarity(turn, np.array([[1.0, -1.0, 2.0]]), np.array([0.5]))
    map_.move(world)
    expected = [world.carry(pose) for pose in poses[[0, 1, 1]]]
    np.testing.assert_allclose(both.poses(map_.keyframes), expected, atol=1e-12)
