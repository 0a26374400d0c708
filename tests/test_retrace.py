"""A bent start is found out by the way back from what came later."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest

from evslam.backend.refinement import Adjustment, Scope, refine_map
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust
from evslam.multiview.sparse_map import SparseMap
from evslam.retrace import retraced
from evslam.types import PointFrame

POINTS = scene.cloud()
IMAGER = EdgeImager(scene.CANVAS, scene.CONFIG.edges)
CONFIG = replace(scene.CONFIG, keyframe=replace(scene.CONFIG.keyframe, motion_px=4.0, min_frames=1))
TRUE = scene.arc(41)
START, LATER = (6, 8, 10, 12), (16, 22, 28, 34, 40)
STEP_US = 10_000


def map_and_frames(bend: float) -> tuple[SparseMap, list[PointFrame]]:
    """Keyframes of a start, the last of them exact, those before it ever farther up than they are; and of later."""
    rng, map_ = np.random.default_rng(0), SparseMap()
    map_.add_landmarks(POINTS, np.arange(len(POINTS)))
    frames = [scene.point_frame(k * STEP_US, pose, POINTS, rng, 0.3) for k, pose in enumerate(TRUE)]
    for k in (*START, *LATER):
        pose = TRUE[k].copy()
        pose[1, 3] += bend * max(START[-1] - k, 0)
        map_.add_keyframe(frames[k], pose, np.ones(len(POINTS), bool))
    return map_, frames


def measured(map_: SparseMap, scope: Scope) -> Adjustment:
    """Costs as they are: nothing is moved."""
    views = list(range(scope.first or len(map_.keyframes)))
    seen = map_.observations(views, np.arange(len(map_.points)))
    poses = np.stack([map_.keyframes[view].T_cam_world for view in views])
    problem = BundleProblem(poses, np.ones(len(views), bool), map_.points, seen, scene.FOCAL)
    return Adjustment([[adjust(problem, BundleSettings(1.5, 0, 1e-4))]], 0.0)


def adjusted(map_: SparseMap, scope: Scope) -> Adjustment:
    """As `evslam.reconstruction` does it, without edges."""
    return refine_map(map_, lambda views, is_free: None, scene.FOCAL, CONFIG.window, CONFIG.refine, scope)


def test_a_bent_start_gives_way_to_the_way_back() -> None:
    map_, frames = map_and_frames(bend=0.01)
    before = [keyframe.T_cam_world.copy() for keyframe in map_.keyframes]
    found = retraced(map_, START[-1] * STEP_US, frames, IMAGER, CONFIG, measured)
    assert found is not None
    assert all(np.array_equal(k.T_cam_world, pose) for k, pose in zip(map_.keyframes, before, strict=True))
    assert [k.t_us for k in found.keyframes[-6:]] == [k * STEP_US for k in (START[-1], *LATER)]
    early = found.keyframes[:-6]
    assert early
    assert early[0].t_us < START[0] * STEP_US
    errors = np.array([scene.pose_error(k.T_cam_world, TRUE[k.t_us // STEP_US]) for k in early])
    assert errors[:, 0].max() < 0.02
    assert scene.pose_error(before[0], TRUE[START[0]])[0] > 0.05


def test_a_start_that_is_right_stays() -> None:
    map_, frames = map_and_frames(bend=0.0)
    assert retraced(map_, START[-1] * STEP_US, frames, IMAGER, CONFIG, adjusted) is None


def test_a_way_back_that_explains_less_is_not_taken() -> None:
    map_, frames = map_and_frames(bend=0.01)
    few = [f if f.t_us >= START[-1] * STEP_US else f.only(f.ids % 3 == 0) for f in frames]
    assert retraced(map_, START[-1] * STEP_US, few, IMAGER, CONFIG, measured) is None
    assert retraced(map_, START[-1] * STEP_US, [], IMAGER, CONFIG, measured) is None


@pytest.mark.parametrize("start_us", [0, 10**9])
def test_without_anything_before_or_after_the_start_there_is_no_other_way(start_us: int) -> None:
    map_, frames = map_and_frames(bend=0.01)
    assert retraced(map_, start_us, frames, IMAGER, CONFIG, measured) is None


def test_a_given_map_stays_as_it_is() -> None:
    map_, frames = map_and_frames(bend=0.01)
    map_.give()
    assert retraced(map_, START[-1] * STEP_US, frames, IMAGER, CONFIG, measured) is None
