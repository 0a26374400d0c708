"""A camera before a textured wall: found again after noise, a jump and a covered lens, and never where it is not."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
import torch
from textured_scene import World

from evslam.atlas import Atlas
from evslam.backward import map_backwards
from evslam.beside import Worker, at_once, in_thread
from evslam.errors import ConfigError
from evslam.frame_poses import compact
from evslam.multiview.bundle import centres
from evslam.odometry import Odometry
from evslam.reconstruction import final_poses
from evslam.segments import join_by_places
from evslam.types import PointFrame, TrackingState

WORLD = World(0)
T_US, POSES = scene.hand_motion(4.0)
BARE = scene.point_tracks(T_US, POSES, WORLD.points)
POSE_AT = dict(zip(T_US.tolist(), POSES, strict=True))
NO_VIEW = scene.CANVAS.height, scene.CANVAS.width


class Camera:
    """Feeds an odometry with views of the world, with other images, or with none."""

    def __init__(self, worker: Worker = at_once) -> None:
        self.odometry = Odometry(scene.CONFIG, scene.CANVAS, worker)
        self.now_us, self.first_id, self.next_id = 0, 0, 0
        self.true: dict[int, np.ndarray] = {}
        self.rng = np.random.default_rng(0)

    def see(self, frames: range, new_ids: bool = False, world: World = WORLD) -> list[TrackingState]:
        """These frames of the motion, with tracks that go on or are new ones."""
        states = []
        if new_ids:
            self.first_id = self.next_id
        for k in frames:
            self.now_us += 10_000
            bare = BARE[k]
            ids = bare.ids + self.first_id
            self.next_id = max(self.next_id, int(ids[-1]) + 1)
            self.true[self.now_us] = POSES[k]
            points = PointFrame(self.now_us, ids, bare.bearing)
            states.append(self.feed(world.frame(self.now_us, POSES[k], points), world))
        return states

    def see_noise(self, count: int) -> list[TrackingState]:
        """Tracks that jump about, on images of noise."""
        states = []
        for _ in range(count):
            self.now_us += 10_000
            bearing = self.rng.uniform(-0.5, 0.5, (len(BARE[0].ids), 2))
            votes = self.rng.poisson(0.3, NO_VIEW).astype(np.float16)
            signed = self.rng.normal(128, 30, NO_VIEW).clip(0, 255).astype(np.uint8)
            states.append(self.feed(PointFrame(self.now_us, BARE[0].ids, bearing, votes, signed), None))
        return states

    def rest(self, count: int) -> list[TrackingState]:
        """No events."""
        states = []
        for _ in range(count):
            self.now_us += 10_000
            states.append(self.feed(PointFrame(self.now_us, BARE[0].ids, BARE[0].bearing, is_resting=True), None))
        return states

    def feed(self, frame: PointFrame, world: World | None) -> TrackingState:
        return self.odometry.add(frame, lambda t_us, half_s: self._events(t_us, world))

    def _events(self, t_us: int, world: World | None) -> tuple[np.ndarray, np.ndarray]:
        if world is None or t_us not in self.true:
            return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
        return world.events(self.true[t_us])

    def error(self) -> tuple[float, float]:
        """How far the last pose is off, in depths and degrees."""
        return self.apart(self.odometry.motion.T_cam_world, self.true[self.now_us])

    def apart(self, T_cam_world: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
        """How far a pose is off, in depths and degrees, in a world that fits the first stretch of the map."""
        keyframes = [k for k in self.odometry.mapper.map.keyframes if k.stretch == 0]
        true = np.stack([self.true[k.t_us] for k in keyframes])
        found = np.stack([k.T_cam_world for k in keyframes])
        scale = float(np.divide(*(np.linalg.norm(np.diff(centres(each), axis=0)) for each in (true, found))))
        pose = T_cam_world @ np.linalg.inv(found[0])
        pose[:3, 3] *= scale
        off, turned = scene.pose_error(pose, expected @ np.linalg.inv(true[0]))
        return off / 3.5, turned


@pytest.fixture(scope="module")
def whole() -> Camera:
    """Two seconds of tracking."""
    camera = Camera()
    assert camera.see(range(200))[-1] is TrackingState.TRACKING
    assert camera.odometry.num_starts == 1
    return camera


@pytest.fixture
def camera(whole: Camera) -> Camera:
    return copy.deepcopy(whole)


def is_back(camera: Camera, states: list[TrackingState], within: int) -> None:
    """The camera is tracked in its old map after so many frames, and no other was begun."""
    assert states[:within].count(TrackingState.TRACKING) > 0
    first = states.index(TrackingState.TRACKING)
    assert set(states[first:]) == {TrackingState.TRACKING}
    assert (camera.odometry.num_starts, camera.odometry.atlas.num_returns) == (1, 1)
    assert not camera.odometry.atlas.segments
    apart, turned = camera.error()
    assert apart < 0.01
    assert turned < 0.3


def test_after_noise_it_is_found_where_it_is(camera: Camera) -> None:
    states = camera.see_noise(200)
    assert TrackingState.TRACKING not in states
    assert TrackingState.LOST in states
    is_back(camera, camera.see(range(60, 140), new_ids=True), within=25)
    assert {k.stretch for k in camera.odometry.mapper.map.keyframes} == {0, 1}


def test_after_a_jump_it_is_found_where_it_is(camera: Camera) -> None:
    states = camera.see(range(40, 130), new_ids=True)
    lost = states.index(TrackingState.LOST)
    assert lost == scene.CONFIG.pose.max_failures
    is_back(camera, states[lost:], within=25)


def test_what_was_seen_before_a_jump_back_in_time_is_found_in_the_finished_map(camera: Camera) -> None:
    """No track of the frames before the first keyframe goes on into the map."""
    camera.odometry.mapper.wait()
    map_, imager = camera.odometry.mapper.map, camera.odometry.mapper.imager
    known = {keyframe.t_us for keyframe in map_.keyframes}
    early, true = [], {}
    for number, k in enumerate(range(60, 140)):
        t_us = min(known) - 800_000 + 10_000 * number
        points = PointFrame(t_us, BARE[k].ids + camera.next_id, BARE[k].bearing)
        early.append(compact(WORLD.frame(t_us, POSES[k], points), None))
        true[t_us] = POSES[k]
    map_backwards(map_, early, imager, scene.CONFIG)
    added = [keyframe for keyframe in map_.keyframes if keyframe.t_us not in known]
    assert {keyframe.stretch for keyframe in added}.isdisjoint(k.stretch for k in map_.keyframes if k.t_us in known)
    assert map_.stretch >= max(keyframe.stretch for keyframe in added)
    t_us, poses = final_poses(map_, early, imager, scene.CONFIG)
    assert len(t_us) > 60
    for when, pose in zip(t_us.tolist(), poses, strict=True):
        apart, turned = camera.apart(pose, true[when])
        assert apart < 0.01
        assert turned < 0.3


def test_edges_tell_of_a_jump_that_tracks_do_not_tell(camera: Camera) -> None:
    """The tracks stay where they are while the view is another one."""
    states, stuck = [], BARE[199]
    for k in range(100, 110):
        camera.now_us += 10_000
        camera.true[camera.now_us] = POSES[k]
        points = PointFrame(camera.now_us, stuck.ids, stuck.bearing)
        states.append(camera.feed(WORLD.frame(camera.now_us, POSES[k], points), WORLD))
        if states[-1] is TrackingState.LOST:
            break
    doubts = scene.CONFIG.pose.max_doubts
    assert states[-doubts - 1 :] == [TrackingState.SPARSE] * doubts + [TrackingState.LOST]
    assert len(states) <= doubts + 2
    is_back(camera, camera.see(range(110, 180), new_ids=True), within=25)


def test_a_covered_lens(camera: Camera) -> None:
    assert set(camera.rest(100)) == {TrackingState.SPARSE}
    states = camera.see(range(100, 190), new_ids=True)
    is_back(camera, states[states.index(TrackingState.LOST) :], within=25)


def test_a_place_whose_edges_leave_the_position_open_does_not_count(camera: Camera) -> None:
    seeker = camera.odometry.atlas.relocaliser
    seeker.config = replace(scene.CONFIG, search=replace(scene.CONFIG.search, max_sigma=1e-6))
    camera.see_noise(scene.CONFIG.pose.max_failures + 1)
    camera.see(range(60, 80), new_ids=True)
    assert seeker.num_attempts > 3
    assert seeker.num_places == 0


def test_in_another_place_it_begins_another_map(camera: Camera) -> None:
    states = camera.see(range(0, 200), new_ids=True, world=World(1))
    assert states[-1] is TrackingState.TRACKING
    assert (camera.odometry.num_starts, camera.odometry.atlas.num_returns) == (2, 0)
    assert camera.odometry.atlas.relocaliser.num_attempts > 5
    assert camera.odometry.atlas.relocaliser.num_places == 0
    assert len(camera.odometry.atlas.segments) == 1


def test_a_map_begun_meanwhile_joins_the_old_one(camera: Camera) -> None:
    """The old map is not looked at before the new one is there."""
    odometry = camera.odometry
    camera.see_noise(scene.CONFIG.pose.max_failures + 1)
    odometry.atlas.relocaliser.seek([])
    camera.see(range(0, 150), new_ids=True)
    assert (odometry.num_starts, odometry.is_started) == (2, True)
    count = len(odometry.atlas.segments[0].map.keyframes), len(odometry.mapper.map.keyframes)
    odometry.atlas.relocaliser.seek([odometry.atlas.segments[0].map])
    states = camera.see(range(150, 250))
    assert set(states) == {TrackingState.TRACKING}
    assert odometry.atlas.num_returns == 1
    assert not odometry.atlas.segments
    keyframes = odometry.mapper.map.keyframes
    assert len(keyframes) > sum(count)
    assert [k.stretch for k in keyframes[: sum(count)]] == [0] * count[0] + [1] * count[1]
    assert camera.error()[0] < 0.01
    found, true = np.stack([k.T_cam_world for k in keyframes]), np.stack([camera.true[k.t_us] for k in keyframes])
    assert scene.aligned_errors(found, true).max() < 0.004
    assert [frame.t_us for frame in odometry.frames] == sorted(frame.t_us for frame in odometry.frames)


def test_maps_that_never_met_are_joined_at_the_end(camera: Camera) -> None:
    odometry = camera.odometry
    camera.see_noise(scene.CONFIG.pose.max_failures + 1)
    odometry.atlas.relocaliser.seek([])
    camera.see(range(0, 150), new_ids=True)
    segments = join_by_places(odometry.all_segments(), scene.CANVAS, scene.CONFIG)
    assert len(segments) == 1
    keyframes = segments[0].map.keyframes
    found, true = np.stack([k.T_cam_world for k in keyframes]), np.stack([camera.true[k.t_us] for k in keyframes])
    assert scene.aligned_errors(found, true).max() < 0.004
    assert [frame.t_us for frame in segments[0].frames] == sorted(frame.t_us for frame in segments[0].frames)


def test_maps_of_different_places_stay_apart(camera: Camera) -> None:
    camera.see(range(0, 150), new_ids=True, world=World(1))
    assert len(camera.odometry.all_segments()) == 2
    assert len(join_by_places(camera.odometry.all_segments(), scene.CANVAS, scene.CONFIG)) == 2


def test_the_same_in_a_thread_and_through_a_checkpoint(whole: Camera) -> None:
    plain, other = copy.deepcopy(whole), Camera(in_thread)
    other.__dict__ |= {k: v for k, v in copy.deepcopy(whole).__dict__.items() if k != "odometry"}
    other.odometry.load_state_dict(whole.odometry.state_dict())
    frames = [range(60, 80), range(80, 97), range(97, 150)]
    for number, part in enumerate(frames):
        states = plain.see(part, new_ids=number == 0)
        other_states = other.see(part, new_ids=number == 0)
        assert states == other_states
        assert np.array_equal(plain.odometry.motion.T_cam_world, other.odometry.motion.T_cam_world)
        file = io.BytesIO()
        torch.save(other.odometry.state_dict(), file)
        file.seek(0)
        other.odometry = Odometry(scene.CONFIG, scene.CANVAS, in_thread)
        other.odometry.load_state_dict(torch.load(file, weights_only=True))
    assert plain.odometry.atlas.num_returns == 1


def test_a_map_with_other_descriptions_is_refused(camera: Camera) -> None:
    other = replace(scene.CONFIG, places=replace(scene.CONFIG.places, descriptor="patch"))
    with pytest.raises(ConfigError, match=r"places\.descriptor is patch"):
        Atlas(other, camera.odometry.mapper.imager, at_once).give(camera.odometry.mapper.map)
