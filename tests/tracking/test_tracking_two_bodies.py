"""An object that moves is told from the scene, and something near is not taken for one."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
from mover_scenes import BOX, at_rest, frames, to_and_fro

from evslam.tracking.start import Sightings
from evslam.tracking.two_bodies import BodySearch, track_errors
from evslam.types import PointFrame

SEARCH = BodySearch(scene.FOCAL, scene.CONFIG.bootstrap, scene.CONFIG.movers)
MOVING, POSES = frames(2.0)
RESTING, _ = frames(2.0, at_rest)
ROWS = np.linspace(30, 130, 8).round().astype(int)


def spread(all_frames: list[PointFrame]) -> list[PointFrame]:
    return [all_frames[row] for row in ROWS]


def test_the_box_is_found_and_nothing_else() -> None:
    found = SEARCH.find(spread(MOVING), None, is_sure=False)
    assert found is not None
    assert (found.ids >= BOX).mean() > 0.95
    assert len(found.ids) > 45
    assert (found.still < BOX).all()
    assert found.follows


def test_a_box_at_rest_is_part_of_the_scene() -> None:
    """It is as near, and has as much parallax."""
    assert SEARCH.find(spread(RESTING), None, is_sure=False) is None
    assert SEARCH.find(spread(RESTING), POSES[ROWS], is_sure=True) is None


@pytest.mark.parametrize("is_sure", [True, False])
def test_the_right_poses_do_not_follow_the_box(is_sure: bool) -> None:
    found = SEARCH.find(spread(MOVING), POSES[ROWS], is_sure=is_sure)
    assert found is not None
    assert not found.follows
    assert (found.ids >= BOX).mean() > 0.95


def test_poses_against_the_box_follow_it() -> None:
    """A camera that takes the box for still."""
    poses = POSES[ROWS].copy()
    for pose, frame in zip(poses, spread(MOVING), strict=True):
        pose[:3, 3] += pose[:3, :3] @ to_and_fro(frame.t_us * 1e-6)
    for is_sure in (False, True):
        found = SEARCH.find(spread(MOVING), poses, is_sure=is_sure)
        assert found is not None
        assert found.follows


def test_a_large_object_must_show_twice_the_contrast() -> None:
    def is_found(min_contrast: float, usual_extent: float) -> bool:
        limits = replace(scene.CONFIG.movers, min_contrast=min_contrast, usual_extent=usual_extent)
        return replace(SEARCH, config=limits).find(spread(MOVING), None, is_sure=False) is not None

    contrasts = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
    assert [is_found(each, 0.0) for each in contrasts] == [is_found(2 * each, 0.5) for each in contrasts]
    assert [is_found(each, 0.5) for each in contrasts] != [is_found(each, 0.0) for each in contrasts]


def test_where_the_poses_at_hand_explain_all_no_other_motion_is_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    def motion(*_: object) -> None:
        raise AssertionError("a motion is sought")

    monkeypatch.setattr(BodySearch, "_motion", motion)
    assert SEARCH.find(spread(RESTING), POSES[ROWS], is_sure=False) is None
    with pytest.raises(AssertionError, match="sought"):
        SEARCH.find(spread(MOVING), POSES[ROWS], is_sure=False)


def test_an_object_that_fills_the_image_is_the_scene() -> None:
    wide = [
        PointFrame(frame.t_us, frame.ids, np.where(frame.ids[:, None] >= BOX, 2.5 * frame.bearing, frame.bearing))
        for frame in spread(MOVING)
    ]
    assert SEARCH.find(wide, None, is_sure=False) is None


def test_few_tracks_tell_nothing() -> None:
    few = [PointFrame(frame.t_us, frame.ids[::6], frame.bearing[::6]) for frame in spread(MOVING)]
    assert SEARCH.find(few, None, is_sure=False) is None


def test_errors_of_tracks_are_those_of_the_best_still_points() -> None:
    sightings = Sightings.of(spread(MOVING), 4, 0.0)
    error = track_errors(POSES[ROWS], sightings, scene.FOCAL)
    assert np.median(error[sightings.ids < BOX]) == pytest.approx(0.25, abs=0.1)
    assert (error[sightings.ids >= BOX] > 3).all()
