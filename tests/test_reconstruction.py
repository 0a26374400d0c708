"""The final estimate: every frame that the map can place, those before the start too."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest

from evslam.backend.place_search import glimpse_of
from evslam.backward import map_backwards
from evslam.frame_poses import compact
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.edges import EdgePoints
from evslam.multiview.sparse_map import SparseMap
from evslam.reconstruction import final_poses, map_points
from evslam.types import PointFrame

POINTS = scene.cloud()
IMAGER = EdgeImager(scene.CANVAS, scene.CONFIG.edges)
TRUE = scene.arc(41)
KEYS = (10, 18, 26, 34)


def map_and_frames(noise_px: float) -> tuple[SparseMap, list[PointFrame]]:
    """Forty frames, the keyframes of an exact map among them; frames in single precision, as they are kept."""
    rng, map_ = np.random.default_rng(0), SparseMap()
    map_.add_landmarks(POINTS, np.arange(len(POINTS)))
    frames = [scene.point_frame(k * 10_000, pose, POINTS, rng, noise_px) for k, pose in enumerate(TRUE)]
    for k in KEYS:
        map_.add_keyframe(frames[k], TRUE[k], np.ones(len(POINTS), bool))
    return map_, [PointFrame(f.t_us, f.ids.astype(np.int32), f.bearing.astype(np.float32)) for f in frames]


def test_all_frames_are_placed_from_before_the_start_to_the_end() -> None:
    map_, frames = map_and_frames(noise_px=0.2)
    t_us, poses = final_poses(map_, frames, IMAGER, scene.CONFIG)
    assert t_us.tolist() == [k * 10_000 for k in range(41)]
    errors = np.array([scene.pose_error(one, other) for one, other in zip(poses, TRUE, strict=True)])
    assert errors[:, 0].max() < 0.02
    assert errors[:, 1].max() < 0.3
    assert np.abs(poses[list(KEYS)] - TRUE[list(KEYS)]).max() < 1e-9


def test_frames_agree_with_keyframes_that_edges_have_moved() -> None:
    map_, frames = map_and_frames(noise_px=0.0)
    moved = np.eye(4)
    moved[0, 3] = 0.02
    for keyframe in map_.keyframes[1:3]:
        keyframe.T_cam_world = moved @ keyframe.T_cam_world
    _, poses = final_poses(map_, frames, IMAGER, scene.CONFIG)
    shift = (poses @ np.linalg.inv(TRUE))[:, 0, 3]
    assert np.allclose(shift[[10, 14, 18, 22, 26, 30, 34, 40]], [0, 0.01, 0.02, 0.02, 0.02, 0.01, 0, 0], atol=1e-5)


def test_frames_without_landmarks_are_left_out() -> None:
    map_, frames = map_and_frames(noise_px=0.0)
    for k in (0, 1, 2, 20, 21, 39, 40):
        frames[k] = PointFrame(frames[k].t_us, frames[k].ids + 5000, frames[k].bearing)
    t_us, _ = final_poses(map_, frames, IMAGER, scene.CONFIG)
    assert (t_us // 10_000).tolist() == sorted(set(range(41)) - {0, 1, 2, 20, 21, 39, 40})


def test_before_the_first_keyframe_the_map_grows_backwards() -> None:
    rng, map_ = np.random.default_rng(1), SparseMap()
    known = np.arange(len(POINTS)) < len(POINTS) // 2  # landmarks; the other tracks have none when the map ends
    map_.add_landmarks(POINTS[known], np.flatnonzero(known))
    whole = [scene.point_frame(k * 10_000, pose, POINTS, rng, 0.1) for k, pose in enumerate(TRUE)]
    for k in KEYS:
        map_.add_keyframe(whole[k], TRUE[k], known)
    early = [PointFrame(f.t_us, f.ids[~known], f.bearing[~known]) for f in whole[:3]]  # landmarks are not in view yet
    config = replace(scene.CONFIG, keyframe=replace(scene.CONFIG.keyframe, motion_px=4.0, min_frames=1))
    by_compact = map_.copy()
    map_.revisits = [(0, 2)]
    map_backwards(map_, early + whole[3:], IMAGER, config)
    added = len(map_.keyframes) - len(KEYS)
    assert added > 0
    assert [keyframe.t_us for keyframe in map_.keyframes[added:]] == [k * 10_000 for k in KEYS]
    assert (np.diff([keyframe.t_us for keyframe in map_.keyframes]) > 0).all()
    assert map_.revisits == [(added, added + 2)]
    assert map_.num_given == 0
    assert all(map_.are_neighbours(k, k + 1) for k in range(len(map_.keyframes) - 1))
    assert len(map_.points) > known.sum()
    for keyframe, k in zip(map_.keyframes[added:], KEYS, strict=True):
        assert np.array_equal(keyframe.T_cam_world, TRUE[k])
    t_us, poses = final_poses(map_, early + whole[3:], IMAGER, config)
    assert t_us.tolist() == [k * 10_000 for k in range(41)]
    errors = np.array([scene.pose_error(one, other) for one, other in zip(poses[:10], TRUE[:10], strict=True)])
    assert errors[:, 0].max() < 0.03
    assert errors[:, 1].max() < 0.5
    small = [compact(frame, None) for frame in early + whole[3:]]
    map_backwards(by_compact, small, IMAGER, config)
    assert np.abs(final_poses(by_compact, small, IMAGER, config)[1] - poses).max() < 1e-4


def test_what_the_place_looks_like_before_the_first_keyframe_is_known() -> None:
    map_, frames = map_and_frames(noise_px=0.0)
    signed = np.random.default_rng(0).integers(0, 256, IMAGER.canvas.valid.shape, np.uint8)
    config = replace(scene.CONFIG, keyframe=replace(scene.CONFIG.keyframe, motion_px=4.0, min_frames=1))
    map_backwards(map_, [compact(replace(frame, signed=signed), None) for frame in frames], IMAGER, config)
    early = [keyframe for keyframe in map_.keyframes if keyframe.t_us < KEYS[0] * 10_000]
    look = glimpse_of(signed, IMAGER.canvas, scene.CONFIG.search.summary_points, scene.CONFIG.places).descriptor
    assert early
    for keyframe in early:
        assert keyframe.signed is not None
        assert keyframe.look is not None
        np.testing.assert_array_equal(keyframe.look, look.astype(np.float16))


def test_nothing_is_added_before_a_given_map() -> None:
    map_, frames = map_and_frames(noise_px=0.0)
    map_.give()
    map_backwards(map_, frames, IMAGER, scene.CONFIG)
    assert len(map_.keyframes) == len(KEYS)
    assert map_.num_given == len(KEYS)


def test_a_map_that_places_no_frame_gives_no_pose() -> None:
    map_, frames = map_and_frames(noise_px=0.0)
    strange = [PointFrame(f.t_us, f.ids + 5000, f.bearing) for f in frames]
    t_us, poses = final_poses(map_, strange, IMAGER, scene.CONFIG)
    assert len(t_us) == 0
    assert poses.shape == (0, 4, 4)


def test_map_holds_living_landmarks_and_edges_in_the_world() -> None:
    map_, _ = map_and_frames(noise_px=0.0)
    map_.remove_landmarks(np.arange(100))
    pixel = scene.CANVAS.pixels(scene.project(TRUE[KEYS[1]], POINTS[:2]))
    depth = (POINTS[:2] @ TRUE[KEYS[1]][:3, :3].T + TRUE[KEYS[1]][:3, 3])[:, 2]
    map_.keyframes[1].edges = EdgePoints(pixel, 1 / depth, np.ones(2), np.ones((2, 2)), np.array([0.4, 1.2]))
    found = map_points(map_, scene.CANVAS)
    assert len(found.points) == len(POINTS) - 100 + 2
    assert np.allclose(found.points[: len(POINTS) - 100], POINTS[100:])
    assert np.allclose(found.points[-2:], POINTS[:2], atol=1e-6)
    assert found.confidence[-2:] == pytest.approx([0.4, 1.0])
    assert (found.confidence[:-2] == 1).all()


def test_frames_at_rest_share_their_tracks() -> None:
    _, frames = map_and_frames(noise_px=0.0)
    whole = PointFrame(5, frames[0].ids.astype(np.int64), frames[0].bearing.astype(float), is_resting=True)
    rests = compact(whole, frames[0])
    assert rests.ids is frames[0].ids
    assert rests.bearing is frames[0].bearing
    assert (rests.t_us, rests.ids.dtype, compact(whole, None).bearing.dtype) == (5, np.int32, np.float32)
    moved = compact(PointFrame(6, whole.ids, whole.bearing + 1e-3), rests)
    assert moved.ids is not rests.ids
