"""How well tracks on moving objects are told from the still scene, judged by the ground truth of the camera.

    python -m evslam.eval.bench.movers runs/bench/dynamic_1/recording runs/bench/desk_1/recording

A track of which at least half a second is seen within a second moves if no fixed point explains it under the true poses
(more than 4 pixels off, root mean square), and is still if one does (less than 1.5); others do not count. Each frame
counts its tracks, from the first discovery on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evslam.config import Config, load_config
from evslam.eval.bench.map_truth import poses_at
from evslam.io.recording import open_recording
from evslam.provenance import versions
from evslam.session import RunOptions, open_session
from evslam.slam import SpatialSlam
from evslam.tracking.start import Sightings, evenly
from evslam.tracking.two_bodies import track_errors
from evslam.types import PointFrame, Trajectory

_WINDOW_US = 1_000_000
_NUM_VIEWS, _MIN_VIEWS = 12, 6
_MOVES_PX, _STILL_PX = 4.0, 1.5


def tracked(path: Path, duration_s: float | None, config: Config) -> tuple[list[PointFrame], list[np.ndarray], float]:
    """Frames with all their tracks, which of these (N,) bool were known to move at the time, and the canvas's focal."""
    session = open_session(RunOptions(path, Path(), duration_s=duration_s), config)
    slam = SpatialSlam(session.camera, config)
    frames, known = list[PointFrame](), list[np.ndarray]()
    movers = slam.odometry.movers
    for batch in session.batches(replace(config, batch=config.frame.batching), session.start_us, lambda: slam.pace):
        slam.process(batch)
        if movers.frames and (not frames or movers.frames[-1] is not frames[-1]):
            frames.append(movers.frames[-1])
            known.append(movers.tracks.are_moving(frames[-1].ids))
    return frames, known, slam.canvas.focal


def judged(frames: list[PointFrame], truth: Trajectory, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Tracks of a stretch that move, and such that are still."""
    some = evenly(frames, np.arange(len(frames)), _NUM_VIEWS)
    sightings = Sightings.of(some, min(_MIN_VIEWS, len(some)), 0.0)
    if len(some) < _MIN_VIEWS or not len(sightings.ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    error = track_errors(poses_at(truth, np.array([frame.t_us for frame in some])), sightings, focal)
    return sightings.ids[error > _MOVES_PX], sightings.ids[error < _STILL_PX]


def measure(path: Path, duration_s: float | None, config: Config) -> dict[str, Any]:
    """The table's line of a recording."""
    truth = open_recording(path).groundtruth
    if truth is None:
        raise SystemExit(f"{path}: no ground truth")
    frames, known, focal = tracked(path, duration_s, config)
    t_us = np.array([frame.t_us for frame in frames])
    found = next((k for k, each in enumerate(known) if each.any()), len(frames))
    counts = np.zeros((2, 2), np.int64)  # still or moving, by truth; taken to be still or moving
    for start_us in range(int(t_us[0]), int(t_us[-1]), _WINDOW_US):
        window = slice(*np.searchsorted(t_us, [start_us, start_us + _WINDOW_US]))
        true = judged(frames[window], truth, focal)[::-1]
        for k in range(max(window.start, found), window.stop):
            for row, ids in enumerate(true):
                taken = known[k][np.isin(frames[k].ids, ids)]
                counts[row] += np.count_nonzero(~taken), np.count_nonzero(taken)
    (still, wrong), (missed, right) = counts.tolist()
    return {
        "recording": path.parent.name if path.name == "recording" else path.name,
        "found after [s]": f"{(t_us[found] - t_us[0]) * 1e-6:.2f}" if found < len(frames) else "never",
        "tracks that move [%]": _percent(missed + right, counts.sum()),
        "of these known [%]": _percent(right, missed + right),
        "still tracks taken away [%]": _percent(wrong, still + wrong),
    }


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path, help="with ground truth")
    parser.add_argument("--duration", type=float, help="seconds of each")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    arguments = parser.parse_args()
    config = load_config(overrides=["mode=6dof", *arguments.set])
    rows = [measure(path, arguments.duration, config) for path in arguments.recordings]
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
    print("commit", versions().get("commit", "unknown"))


if __name__ == "__main__":
    main()
