"""Odometry on the tracks of a cloud of points: from the start to the end, through a loss, and from a checkpoint."""

from __future__ import annotations

import io
from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
import torch
from mover_scenes import BOX
from mover_scenes import frames as frames_with_mover
from scipy.spatial.transform import Rotation

from evslam.backend.loop_closure import bend, placed
from evslam.beside import Worker, at_once, in_thread
from evslam.geometry.similarity import Similarity
from evslam.looping import LoopCloser
from evslam.mapping.landmarks import is_firm
from evslam.multiview.sparse_map import SparseMap
from evslam.odometry import Odometry
from evslam.types import PointFrame, TrackingState

T_US, POSES = scene.hand_motion(4.0)
FRAMES = scene.point_tracks(T_US, POSES, scene.room())


def no_events(t_us: int, half_s: float) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)


def odometry(worker: Worker = at_once) -> Odometry:
    return Odometry(scene.CONFIG, scene.CANVAS, worker)


def feed(odometry: Odometry, frames: list[PointFrame]) -> tuple[list[TrackingState], np.ndarray]:
    """States and poses (N, 4, 4) after each frame."""
    states, poses = [], []
    for frame in frames:
        states.append(odometry.add(frame, no_events))
        poses.append(odometry.motion.T_cam_world)
    return states, np.stack(poses)


@pytest.fixture(scope="module")
def whole() -> tuple[Odometry, list[TrackingState], np.ndarray]:
    one = odometry()
    return one, *feed(one, FRAMES)


def test_it_starts_and_tracks_to_the_end(whole: tuple[Odometry, list[TrackingState], np.ndarray]) -> None:
    one, states, poses = whole
    first = states.index(TrackingState.TRACKING)
    assert T_US[first] < 1_000_000
    assert set(states[:first]) == {TrackingState.STARTING}
    assert set(states[first:]) == {TrackingState.TRACKING}
    assert aligned_rmse(poses[first:], POSES[first:]) < 0.005
    assert one.num_starts == 1
    assert 10 < len(one.mapper.map.keyframes) < 100
    assert one.inlier_share > 0.8


def test_tracking_goes_along_when_a_loop_moves_the_map(
    whole: tuple[Odometry, list[TrackingState], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Rotation.from_rotvec([[0.2, -0.1, 0.3]]).as_matrix()
    world, calls = Similarity(turn, np.array([[1.0, 2.0, -0.5]]), np.array([1.4])), []

    def take(closer: LoopCloser, map_: SparseMap) -> Similarity | None:
        calls.append(len(map_.keyframes))
        if len(calls) != 8:
            return None
        bend(map_, world[np.zeros(len(map_.keyframes), int)] @ placed(map_))
        return world

    monkeypatch.setattr(LoopCloser, "take", take)
    one = odometry()
    states, poses = feed(one, FRAMES)
    assert len(calls) > 12
    assert states == whole[1]
    expected = np.stack([world.carry(pose) for pose in whole[2]])
    assert np.abs(poses[-100:] - expected[-100:]).max() < 1e-3  # the end of a search, not rounding
    np.testing.assert_allclose(one.motion.twist, whole[0].motion.twist * np.repeat((1.4, 1.0), 3), atol=0.02)


def aligned_rmse(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt((scene.aligned_errors(found, true) ** 2).mean()))


def test_the_world_is_the_first_camera_at_median_depth_one(whole: tuple[Odometry, list, np.ndarray]) -> None:
    map_ = whole[0].mapper.map
    first = map_.keyframes[0]
    assert np.array_equal(first.T_cam_world, np.eye(4))
    seen = first.landmark[first.landmark >= 0]
    assert np.median(map_.points[seen][:, 2]) == pytest.approx(1.0, rel=0.1)


def test_twist_is_the_motion_of_the_camera() -> None:
    one, twists = odometry(), []
    for frame in scene.point_tracks(T_US, POSES, scene.room(), noise_px=0.0)[:200]:
        one.add(frame, no_events)
        twists.append(one.motion.twist)
    found, true = (np.linalg.inv(pose)[:3, 3] for pose in (one.motion.T_cam_world, POSES[199]))
    scale = np.linalg.norm(found) / np.linalg.norm(true)
    change = POSES[119:199] @ np.linalg.inv(POSES[120:200])  # T_before_now
    v, omega = scale * change[:, :3, 3] / 0.01, Rotation.from_matrix(change[:, :3, :3]).as_rotvec() / 0.01
    error = np.linalg.norm(np.stack(twists[120:]) - np.concatenate([v, omega], 1), axis=1)
    speed = np.linalg.norm(v, axis=1)
    assert np.median(error) < 0.04 * np.median(speed)
    assert np.quantile(error, 0.9) < 0.15 * np.median(speed)  # the map's adjustment is felt for a frame


def test_covariance_tells_how_sure_the_pose_is() -> None:
    one = odometry()
    assert one.add(FRAMES[0], no_events) is TrackingState.STARTING
    assert np.isnan(one.motion.covariance(FRAMES[0].t_us)).all()
    feed(one, FRAMES[1:200])
    assert np.isnan(one.motion.covariance(FRAMES[198].t_us)).all()
    v, w = np.sqrt(np.diag(one.motion.covariance(FRAMES[199].t_us))).reshape(2, 3)
    assert 0.03 < np.degrees(w).min() < np.degrees(w).max() < 0.5
    assert 0.0003 < v.min() < v.max() < 0.003  # of the median depth


def test_mapping_in_a_thread_gives_the_same_poses(whole: tuple[Odometry, list[TrackingState], np.ndarray]) -> None:
    states, poses = feed(odometry(in_thread), FRAMES[:200])
    assert states == whole[1][:200]
    assert np.array_equal(poses, whole[2][:200])


def through_a_checkpoint(one: Odometry) -> Odometry:
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other = odometry()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def test_a_checkpoint_while_a_start_waits_for_its_confirmation() -> None:
    never_sure = replace(scene.CONFIG, bootstrap=replace(scene.CONFIG.bootstrap, sure_factor=100.0))
    one, other = (Odometry(never_sure, scene.CANVAS) for _ in range(2))
    count = next(k for k, frame in enumerate(FRAMES) if one.add(frame, no_events) and one.starting.bootstrap.passed) + 1
    feed(other, FRAMES[:count])
    states, poses = feed(through_a_checkpoint(one), FRAMES[count : count + 80])
    expected = feed(other, FRAMES[count : count + 80])
    assert states == expected[0]
    assert TrackingState.TRACKING in states
    assert np.array_equal(poses, expected[1])


@pytest.mark.parametrize("moment", ["pending", "mapping", "neither"])
def test_a_checkpoint_while_tracking(moment: str, whole: tuple[Odometry, list[TrackingState], np.ndarray]) -> None:
    one = odometry(in_thread)
    for count, frame in enumerate(FRAMES, 1):
        one.add(frame, no_events)
        now = "pending" if one.keyframing.pending_us is not None else "mapping" if one.mapper.is_busy else "neither"
        if count > 120 and now == moment:
            break
    states, poses = feed(through_a_checkpoint(one), FRAMES[count : count + 60])
    assert states == whole[1][count : count + 60]
    assert np.array_equal(poses, whole[2][count : count + 60])


def garbage(rng: np.random.Generator, begin: int) -> list[PointFrame]:
    """The frames from `begin` on until tracking must be lost, with points anywhere."""
    frames = FRAMES[begin : begin + 1 + scene.CONFIG.pose.max_failures]
    return [PointFrame(each.t_us, each.ids, rng.uniform(-0.5, 0.5, (len(each.ids), 2))) for each in frames]


def test_a_map_that_is_lost_before_its_start_is_settled_is_given_up(
    whole: tuple[Odometry, list[TrackingState], np.ndarray],
) -> None:
    one, begin = odometry(), whole[1].index(TrackingState.TRACKING) + 5
    feed(one, FRAMES[:begin])
    states, _ = feed(one, garbage(np.random.default_rng(0), begin))
    assert states[-1] is TrackingState.LOST
    assert not one.is_started
    assert one.all_segments() == []
    later = [PointFrame(f.t_us, f.ids + 100_000, f.bearing) for f in FRAMES[begin + len(states) :]]
    states, poses = feed(through_a_checkpoint(one), later)
    first = states.index(TrackingState.TRACKING)
    assert set(states[first:]) == {TrackingState.TRACKING}
    assert aligned_rmse(poses[first:], POSES[-len(poses) + first :]) < 0.01
    feed(one, later)
    (segment,) = one.all_segments()
    assert [frame.t_us for frame in segment.frames] == T_US.tolist()
    assert np.array_equal(segment.map.keyframes[0].T_cam_world, np.eye(4))


def test_after_a_loss_it_starts_again_where_it_was_lost() -> None:
    one, rng = odometry(), np.random.default_rng(0)
    feed(one, FRAMES[:150])
    states, poses = feed(one, garbage(rng, 150))
    assert states == [TrackingState.SPARSE] * scene.CONFIG.pose.max_failures + [TrackingState.LOST]
    assert len(one.atlas.segments) == 1
    lost_at = poses[-1]
    later = [PointFrame(f.t_us, f.ids + 100_000, f.bearing) for f in FRAMES[170:]]
    states, poses = feed(one, later)
    first = states.index(TrackingState.TRACKING)
    assert set(states[:first]) == {TrackingState.STARTING}
    assert set(states[first:]) == {TrackingState.TRACKING}
    assert one.num_starts == 2
    assert np.array_equal(one.mapper.map.keyframes[0].T_cam_world, lost_at)
    assert aligned_rmse(poses[first:], POSES[170 + first :]) < 0.01
    old, new = one.all_segments()
    assert [frame.t_us for frame in old.frames] == T_US[:166].tolist()
    assert [frame.t_us for frame in new.frames] == T_US[170:].tolist()
    depths = []
    for map_, index in ((old.map, -1), (new.map, 0)):
        keyframe = map_.keyframes[index]
        points = map_.points[keyframe.landmark[keyframe.landmark >= 0]]
        depths.append(np.median((points @ keyframe.T_cam_world[:3, :3].T + keyframe.T_cam_world[:3, 3])[:, 2]))
    assert depths[1] == pytest.approx(depths[0], rel=0.1)
    other = through_a_checkpoint(one)
    assert len(other.atlas.segments) == 1
    assert np.array_equal(other.atlas.segments[0].map.points, old.map.points)


def test_tracks_that_leave_their_landmark_lose_it() -> None:
    """Three of the tracks slide over the image from a moment on."""
    one = odometry()
    feed(one, FRAMES[:150])
    known = FRAMES[150].ids[is_firm(one.mapper.view, FRAMES[150].ids)]
    lasting, others = np.split(np.intersect1d(known, FRAMES[165].ids), [3])
    for number, frame in enumerate(FRAMES[150:166]):
        bearing = frame.bearing.copy()
        bearing[np.isin(frame.ids, lasting)] += 0.004 * number
        one.add(PointFrame(frame.t_us, frame.ids, bearing), no_events)
    assert (one.mapper.view.landmarks(lasting) == -1).all()
    assert (one.mapper.view.landmarks(others) >= 0).all()


def test_a_start_that_later_ones_refute_is_replaced() -> None:
    """The path since the start is forged: as if the camera had gone straight ahead."""
    one = odometry()
    count = next(k for k, frame in enumerate(FRAMES) if one.add(frame, no_events) is TrackingState.TRACKING) + 1
    for frame in FRAMES[count : count + 5]:
        one.add(frame, no_events)
    one.starting.path = [
        (t_us, np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -k], [0, 0, 0, 1]]))
        for k, (t_us, _) in enumerate(one.starting.path)
    ]
    states, poses = feed(one, FRAMES[count + 5 : count + 200])
    assert one.num_starts == 2
    assert set(states) == {TrackingState.TRACKING}
    assert one.mapper.map.keyframes[0].t_us >= FRAMES[0].t_us
    assert aligned_rmse(poses[-100:], POSES[count + 100 : count + 200]) < 0.01


MOVER_FRAMES, MOVER_POSES = frames_with_mover(6.0)


def test_a_box_that_moves_with_many_of_the_tracks_does_not_take_over() -> None:
    """A map that follows it is given up, and another one begins without it."""
    one = odometry()
    states, poses = feed(one, MOVER_FRAMES)
    assert states[-300:] == [TrackingState.TRACKING] * 300
    assert aligned_rmse(poses[-300:], MOVER_POSES[-300:]) < 0.01
    (segment,) = one.all_segments()
    assert max(int(frame.ids.max()) for frame in segment.frames[-300:]) < BOX or all(
        (frame.ids >= BOX).sum() < 5 for frame in segment.frames[-300:]
    )


def test_without_looking_for_movers_the_box_takes_over() -> None:
    config = replace(scene.CONFIG, movers=replace(scene.CONFIG.movers, use=False))
    _, poses = feed(Odometry(config, scene.CANVAS), MOVER_FRAMES)
    assert aligned_rmse(poses[-300:], MOVER_POSES[-300:]) > 0.03


def test_a_checkpoint_remembers_what_moves(whole: tuple[Odometry, list[TrackingState], np.ndarray]) -> None:
    one = odometry()
    feed(one, MOVER_FRAMES[:200])
    other = through_a_checkpoint(one)
    rest = [feed(each, MOVER_FRAMES[200:300])[1] for each in (one, other)]
    np.testing.assert_array_equal(*rest)
    assert one.movers.tracks.any
