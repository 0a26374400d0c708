"""How long do loops of a long map take: candidates for a keyframe, the pose graph, and the map that follows it?

    python -m evslam.eval.bench.closure --keyframes 500 5000

A camera goes round in a ring of points again and again, while the scale drifts. Every seventh keyframe has a loop to
the round before, and one in thirty of these is false. Times are those of one process, CPU and wall. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.look_index import LookIndex
from evslam.backend.loop_closure import Loop, bend, close_loops
from evslam.config import load_config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.geometry.similarity import Similarity
from evslam.multiview.bundle import centres
from evslam.multiview.sparse_map import SparseMap
from evslam.provenance import versions
from evslam.types import PointFrame, SensorSize

Result = TypeVar("Result")
ROUND = 250  # keyframes
DRIFT = -0.0002  # of the logarithm of the scale, a keyframe
POINTS, RADIUS = 1500, 6.0  # of a round
EVERY, FALSE_EVERY = 7, 30
SIMILAR_VIEWS, DESCRIPTORS, SEARCHES = 40, 200, 20
CONFIG = load_config(overrides=["mode=6dof"])
CANVAS = Canvas.of(Camera(200.0, 200.0, 119.5, 89.5, SensorSize(180, 240)), 400, CONFIG.frame.canvas_margin)


def ring_map(number: int) -> SparseMap:
    """Rounds inside a ring of points, exact; each round has landmarks of its own at the same places."""
    rng, map_ = np.random.default_rng(0), SparseMap()
    angle = rng.uniform(0, 2 * np.pi, POINTS)
    points = np.stack([RADIUS * np.cos(angle), rng.uniform(-1.5, 1.5, POINTS), RADIUS * np.sin(angle)], 1)
    rounds = -(-number // ROUND)
    map_.add_landmarks(np.tile(points, (rounds, 1)), np.arange(rounds * POINTS))
    for index in range(number):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0, -2 * np.pi * index / ROUND, 0]).as_matrix()
        pose[:3, 3] = (0.0, 0.0, -2.0)
        shown = points @ pose[:3, :3].T + pose[:3, 3]
        bearing = shown[:, :2] / np.maximum(shown[:, 2:], 1e-3)
        seen = np.flatnonzero((shown[:, 2] > 0.5) & (np.abs(bearing) < 0.5).all(1))
        ids = seen + index // ROUND * POINTS
        map_.add_keyframe(PointFrame(index, ids, bearing[seen]), pose, np.ones(len(ids), bool))
    return map_


def loops_of(map_: SparseMap) -> list[Loop]:
    """Of an exact map that is about to drift; some are false."""
    true = Similarity.of_poses(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes]))
    one, loops = np.eye(3)[None], []
    for number, new in enumerate(range(ROUND, len(map_.keyframes), EVERY)):
        seen, old = map_.keyframes[new].landmark, new - ROUND
        scale = Similarity(one, np.zeros((1, 3)), np.array([np.exp(DRIFT * ROUND)]))
        new_from_old = scale @ true[[new]] @ true[[old]].inverse()
        if number % FALSE_EVERY == FALSE_EVERY - 1:
            new_from_old = Similarity(one, np.array([[1.0, 0.0, 1.0]]), np.array([1.3]))
        loops.append(Loop(old, new, new_from_old, np.stack([seen - POINTS, seen], 1), len(seen)))
    return loops


def let_drift(map_: SparseMap) -> None:
    """The scale falls and the heading turns, step by step."""
    true = Similarity.of_poses(np.linalg.inv(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])))
    steps = true[:-1].inverse() @ true[1:]
    steps = steps.retract(np.tile([0.0, 0.0, 0.0, 0.0, 1e-4, 0.0, DRIFT], (len(steps), 1)))
    nodes = [true[[0]]]
    for index in range(len(steps)):
        nodes.append(nodes[-1] @ steps[[index]])
    bend(map_, Similarity.join(nodes))


def timed(work: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    """What work returns, and how long it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, {"cpu_s": round(time.process_time() - cpu, 4), "wall_s": round(time.perf_counter() - wall, 4)}


def candidates(map_: SparseMap) -> dict[str, float]:
    """The keyframes that look like the newest one, as `LoopCloser` looks for them, once the words are learned; mean."""
    rng = np.random.default_rng(1)
    shown = np.abs(rng.normal(0, 1, (SIMILAR_VIEWS, DESCRIPTORS, 128))).astype(np.float32)
    shown /= np.linalg.norm(shown, axis=2, keepdims=True)
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.look = shown[number % SIMILAR_VIEWS].astype(np.float16)
    index, newest = LookIndex(CONFIG.places.words, CONFIG.seed), len(map_.keyframes) - 1
    index.update(map_)

    def searches() -> None:
        for _ in range(SEARCHES):
            index.update(map_)
            index.alike(newest, CONFIG.places)

    _, spent = timed(searches)
    return {f"{name[:-1]}ms": round(1000 * value / SEARCHES, 3) for name, value in spent.items()}


def measure(number: int) -> dict[str, Any]:
    """Times and errors for a map of so many keyframes."""
    map_ = ring_map(number)
    true = centres(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes]))
    loops = loops_of(map_)
    let_drift(map_)

    def error() -> float:
        found = centres(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes]))
        return round(float(np.linalg.norm(found - true, axis=1).max()), 4)

    before = error()
    kept, spent = timed(lambda: close_loops(map_, loops, CANVAS, CONFIG.loop))
    figures = {"keyframes": number, "loops": len(loops), "kept": len(kept), "candidates": candidates(map_)}
    return figures | {"closure": spent, "largest_error_before": before, "largest_error_after": error()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keyframes", type=int, nargs="+", default=[500, 5000])
    arguments = parser.parse_args()
    print(json.dumps({"maps": [measure(number) for number in arguments.keyframes], "versions": versions()}, indent=2))


if __name__ == "__main__":
    main()
