"""Objects that move are found in time, remembered and kept from what follows the camera."""

from __future__ import annotations

import io
from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
import torch
from mover_scenes import BOX, at_rest, frames, to_and_fro

from evslam.tracking.movers import Discovery, Movers
from evslam.tracking.two_bodies import BodySearch, MovingBody
from evslam.types import PointFrame

MOVING, POSES = frames(6.0)


def movers() -> Movers:
    return Movers(scene.CONFIG.movers, scene.CONFIG.bootstrap, scene.CANVAS)


def feed(one: Movers, seen: list[PointFrame], poses: np.ndarray | None = None) -> list[Discovery]:
    """All that is new, with the poses of a map that was begun long ago, if there are any."""
    found = []
    for k, frame in enumerate(seen):
        one.take(frame)
        new = one.look(is_tracked=poses is not None)
        found += [] if new is None else [new]
        if poses is not None:
            one.place(frame.t_us, poses[k])
    return found


@pytest.mark.parametrize("poses", [None, POSES])
def test_the_box_is_found_soon_and_followed(poses: np.ndarray | None) -> None:
    one = movers()
    new = feed(one, MOVING[:200], None if poses is None else poses[:200])
    assert new[0].is_first
    assert new[0].is_new
    assert not any(each.is_first for each in new[1:])
    for k in range(200, 600):
        frame = one.take(MOVING[k])
        if poses is not None:
            one.place(frame.t_us, poses[k])
        one.look(is_tracked=poses is not None)
        on_box = frame.ids >= BOX
        assert on_box.sum() <= 4
        assert (~on_box).sum() > 0.85 * (MOVING[k].ids < BOX).sum()


@pytest.mark.parametrize("is_known", [True, False])
def test_the_scene_does_not_move_because_it_does_as_seen_from_an_object(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, none = movers(), np.zeros(0, np.int64)
    box, rest = np.arange(BOX, BOX + 40), np.arange(40)
    monkeypatch.setattr(BodySearch, "find", lambda *_, **__: MovingBody(rest, box, follows=False))
    if is_known:
        one.tracks.learn(box, none)
    new = feed(one, MOVING[:150])
    assert (new == []) == is_known
    assert one.tracks.are_moving(rest).any() != is_known


def test_a_box_at_rest_is_not_taken_away() -> None:
    resting, poses = frames(4.0, at_rest)
    one = movers()
    assert feed(one, resting) == []
    assert feed(movers(), resting, poses) == []
    assert one.take(resting[-1]).ids is resting[-1].ids


def test_a_box_that_has_come_to_rest_is_released() -> None:
    def stops(seconds: float) -> np.ndarray:
        return to_and_fro(min(seconds, 1.5))

    seen, poses = frames(7.0, stops)
    one = movers()
    feed(one, seen[:150], poses[:150])
    assert one.tracks.any
    for frame, pose in zip(seen[150:], poses[150:], strict=True):
        one.take(frame)
        one.look(is_tracked=True)
        one.place(frame.t_us, pose)
    assert not one.tracks.any


def against_the_box(poses: np.ndarray) -> np.ndarray:
    """Poses of a camera that takes the box for still."""
    wrong = poses.copy()
    for pose, frame in zip(wrong, MOVING, strict=False):
        pose[:3, 3] += pose[:3, :3] @ to_and_fro(frame.t_us * 1e-6)
    return wrong


def test_poses_that_follow_the_box_are_told() -> None:
    one = movers()
    one.begin(0)
    new = feed(one, MOVING[:200], against_the_box(POSES[:200]))
    assert new[0].follows


def test_an_old_map_that_follows_the_box_is_found_out_by_two_looks_in_a_row() -> None:
    one, wrong = movers(), against_the_box(POSES[:500])
    one.begin(-10_000_000)
    new, accused = list[Discovery](), list[int]()
    for frame, pose in zip(MOVING[:500], wrong, strict=False):
        assert not one.is_young
        one.take(frame)
        found = one.look(is_tracked=True)
        one.place(frame.t_us, pose)
        if found is not None:
            new.append(found)
            break
        accused.append(one.accused)
    assert new[0].follows
    assert max(accused) == 1
    assert (one.tracks.proven >= BOX).mean() > 0.95


def test_an_old_map_that_is_right_is_never_accused() -> None:
    resting, poses = frames(6.0, at_rest)
    one = movers()
    one.begin(-10_000_000)
    for frame, pose in zip(resting, poses, strict=True):
        one.take(frame)
        assert one.look(is_tracked=True) is None
        one.place(frame.t_us, pose)
        assert one.accused == 0
    assert one.num_looks >= 25


def test_images_tell_where_the_box_hides_the_scene() -> None:
    one = movers()
    feed(one, MOVING[:200])
    shape = scene.CANVAS.height, scene.CANVAS.width
    images = {"votes": np.ones(shape, np.float16), "signed": np.full(shape, 200, np.uint8)}
    frame = one.take(replace(MOVING[200], **images))
    assert frame.hidden is not None
    assert frame.signed is not None
    box = MOVING[200].bearing[MOVING[200].ids >= BOX]
    column, row = np.rint(scene.CANVAS.pixels(box)).astype(int).T
    assert frame.hidden[row, column].mean() > 0.9
    assert frame.hidden.mean() < 0.3
    np.testing.assert_array_equal(frame.signed, np.where(frame.hidden, 128, 200))
    hidden = one.hidden(MOVING[200].t_us)
    np.testing.assert_array_equal(hidden, frame.hidden)
    assert movers().hidden(0) is None


def test_earlier_frames_are_cleared_by_following_the_box_back() -> None:
    one = movers()
    feed(one, MOVING[:250])
    cleared = one.cleared(MOVING[:250])
    assert [frame.t_us for frame in cleared] == [frame.t_us for frame in MOVING[:250]]
    left = np.array([(frame.ids >= BOX).sum() for frame in cleared])
    assert left.max() <= 4
    kept = sum((frame.ids < BOX).sum() for frame in cleared) / sum((frame.ids < BOX).sum() for frame in MOVING[:250])
    assert kept > 0.9


def test_a_checkpoint_goes_on_the_same() -> None:
    one, other = movers(), movers()
    feed(one, MOVING[:150], POSES[:150])
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for each in (one, other):
        feed(each, MOVING[150:250], POSES[150:250])
    np.testing.assert_array_equal(one.tracks.proven, other.tracks.proven)
    assert one.tracks.since == other.tracks.since
    assert one.next_us == other.next_us


def test_without_use_nothing_is_looked_for() -> None:
    one = Movers(replace(scene.CONFIG.movers, use=False), scene.CONFIG.bootstrap, scene.CANVAS)
    assert feed(one, MOVING[:200], POSES[:200]) == []
    assert one.take(MOVING[200]) is MOVING[200]
