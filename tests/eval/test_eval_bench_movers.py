"""The table of tracks on moving objects, on frames whose truth is known."""

from __future__ import annotations

import map_scenes as scene
import numpy as np
from mover_scenes import BOX, frames

from evslam.eval.bench.movers import judged
from evslam.geometry.trajectory import camera_poses
from evslam.types import Trajectory


def test_tracks_are_judged_by_the_true_poses() -> None:
    seen, poses = frames(1.0)
    truth = Trajectory(np.array([frame.t_us for frame in seen]), camera_poses(poses))
    moving, still = judged(seen, truth, scene.FOCAL)
    assert (moving >= BOX).mean() > 0.97
    assert (still < BOX).all()
    assert len(moving) >= 40
    assert len(still) > 60


def test_few_frames_tell_nothing() -> None:
    seen, poses = frames(0.04)
    truth = Trajectory(np.array([frame.t_us for frame in seen]), camera_poses(poses))
    assert [len(ids) for ids in judged(seen, truth, scene.FOCAL)] == [0, 0]
