"""How far tracked points are from where true depth and poses have them: soon after the first event, and later.

    python -m evslam.eval.bench.tracks RECORDING... [--lead 0.02 0.3] [--set KEY=VALUE]

The front-end begins so many seconds (`--lead`) before each depth map of a simulated recording. The points of the first
frame from the map on that has any are followed until they have moved by 10 to 20 pixels of the canvas. Their motion is
compared with the true one of what they were seen on: error along it (bias: median; spread: 1.48 times the median
distance from that) and across it, pixels. Points at borders of depth do not count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from evslam.config import Config, load_config
from evslam.eval.bench.depth import NEAR, Scene, lifted
from evslam.geometry.rigid import seen_from
from evslam.provenance import versions
from evslam.session import RunOptions, Session, open_session
from evslam.tracking.front_end import FrontEnd
from evslam.types import PointFrame

_AFTER_S = 0.4  # time for points to move
_MOVED_PX = (10.0, 20.0)
_SAME_DEPTH = 1.15  # between a point's pixel and those near it


def frames_from(session: Session, scene: Scene, begin_us: int, duration_s: float) -> Iterator[PointFrame]:
    """Frames of a front-end that has seen nothing before `begin_us`, but for those at rest."""
    session = replace(session, stop_us=begin_us + round(1e6 * duration_s))
    front_end = FrontEnd(session.camera, scene.canvas, scene.config)
    batching = replace(scene.config, batch=scene.config.frame.batching)
    for batch in session.batches(batching, begin_us, lambda: front_end.pace):
        frame = front_end.take(batch, even=True)
        if not frame.is_resting:
            yield frame


def errors(scene: Scene, k: int, frames: list[PointFrame]) -> np.ndarray:
    """(N, 2) pixels along and across the true motion: tracks of the first frame with points, in all later ones."""
    frames = [each for each in frames if each.t_us >= scene.t_us[k] and len(each.ids)]
    if not frames:
        return np.zeros((0, 2))
    first, canvas = frames[0], scene.canvas
    pixel = canvas.pixels(first.bearing)
    depths = np.stack([scene.depth(k, pixel + offset) for offset in NEAR])
    flat = np.isfinite(depths).all(0) & (depths.max(0) < _SAME_DEPTH * depths.min(0))
    ids, start = first.ids[flat], pixel[flat]
    points = lifted(scene.T_world_cam(first.t_us), first.bearing[flat], depths[0, flat])
    found = [np.zeros((0, 2))]
    for frame in frames[1:]:
        _, mine, now = np.intersect1d(ids, frame.ids, assume_unique=True, return_indices=True)
        expected, _ = seen_from(np.linalg.inv(scene.T_world_cam(frame.t_us)), points[mine])
        motion = canvas.pixels(expected) - start[mine]
        error = canvas.pixels(frame.bearing[now]) - start[mine] - motion
        length = np.linalg.norm(motion, axis=1)
        counts = (length > _MOVED_PX[0]) & (length < _MOVED_PX[1])
        (x, y), (u, v) = error[counts].T, (motion[counts] / length[counts, None]).T
        found.append(np.stack([x * u + y * v, y * u - x * v], 1))
    return np.concatenate(found)


def measure(path: Path, lead_s: float, config: Config) -> dict[str, Any]:
    """One line of the table."""
    scene, session, found = Scene(path, config), open_session(RunOptions(path, Path()), config), [np.zeros((0, 2))]
    for k in tqdm(range(len(scene.t_us)), desc=f"{path.name}, {lead_s} s", leave=False):
        begin_us = int(scene.t_us[k] - 1e6 * lead_s)
        if begin_us >= session.start_us:
            found.append(errors(scene, k, list(frames_from(session, scene, begin_us, lead_s + _AFTER_S))))
    along, across = np.concatenate(found).T
    bias = float(np.median(along)) if len(along) else np.nan
    spread = [1.48 * float(np.median(np.abs(each))) if len(each) else np.nan for each in (along - bias, across)]
    line = {"recording": path.name, "lead_s": lead_s, "sightings": len(along), "bias_px": bias}
    return line | {"spread_along_px": spread[0], "spread_across_px": spread[1]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--lead", nargs="+", type=float, default=[0.02, 0.3], metavar="S")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    arguments = parser.parse_args()
    config = load_config(overrides=["mode=6dof", *arguments.set])
    lines = [measure(path, lead_s, config) for path in arguments.recordings for lead_s in arguments.lead]
    print(json.dumps({"tracks": lines, "commit": versions().get("commit")}, indent=2))


if __name__ == "__main__":
    main()
