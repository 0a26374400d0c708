"""Does the map of a known place stop growing? Keyframes, memory and accuracy of a camera that goes to and fro.

    python -m evslam.eval.bench.known_place RECORDING --passes 8 --out runs/known_place

A recording with ground truth is played forth and back (see `memory`), and tracked twice: with `cull` as configured, and
without. After every pass: keyframes of the map, what they take, frames whose tracks are kept and what these take; at
the end the error of the final trajectory. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evslam.config import Config, load_config
from evslam.eval.bench.memory import forth_and_back
from evslam.eval.spatial import position_error
from evslam.geometry.trajectory import camera_poses
from evslam.io.recording import open_recording, write_recording
from evslam.provenance import versions
from evslam.reconstruction import final_poses, refine
from evslam.session import RunOptions, open_session
from evslam.slam import SpatialSlam
from evslam.types import Events, Trajectory

NEVER = 10**9


def lengthened(source: Path, passes: int, folder: Path) -> int:
    """Write a recording that is played forth and back so often; returns microseconds of one pass."""
    recording = open_recording(source)
    truth = recording.groundtruth
    if truth is None:
        raise SystemExit(f"{source}: no ground truth")
    events = Events.concatenate(list(recording.reader.read()))
    start, duration = int(events.t[0]), int(events.t[-1] - events.t[0]) + 1
    inside = (truth.t_us >= start) & (truth.t_us < start + duration)
    t_us, poses = truth.t_us[inside] - start, truth.poses[inside]
    parts = [(t_us, poses) if number % 2 == 0 else (duration - t_us[::-1], poses[::-1]) for number in range(passes)]
    times = np.concatenate([part + number * duration for number, (part, _) in enumerate(parts)])
    times, first = np.unique(times, return_index=True)
    whole = Trajectory(times, np.concatenate([part for _, part in parts])[first])
    if not (folder / "meta.yaml").is_file():
        shifted = replace(events, t=events.t - start)
        chunks = forth_and_back(shifted, duration, passes * duration)
        write_recording(folder, chunks, camera=recording.require_camera(), trajectory=whole)
    return duration


def size_mb(value: Any) -> float:
    """Of all arrays in plain data and objects, each counted once."""
    seen, total, rest = set[int](), 0, [value]
    while rest:
        each = rest.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, np.ndarray):
            total += each.nbytes
        elif isinstance(each, list | tuple):
            rest += each
        elif hasattr(each, "__dict__"):
            rest += vars(each).values()
    return round(total / 2**20, 1)


def follow(folder: Path, pass_us: int, config: Config) -> dict[str, Any]:
    """Track the recording; figures after every pass, and the error at the end."""
    session = open_session(RunOptions(folder, folder), config)
    slam, after, next_us = SpatialSlam(session.camera, config), list[dict[str, Any]](), session.start_us + pass_us
    for batch in session.batches(replace(config, batch=config.frame.batching), session.start_us, lambda: slam.pace):
        slam.process(batch)
        if batch.stop_us >= next_us or batch.stop_us >= session.stop_us:
            next_us += pass_us
            odometry = slam.odometry
            odometry.mapper.wait()
            map_, frames = odometry.mapper.map, odometry.frames
            figures = {"keyframes": len(map_.keyframes), "keyframes_mb": size_mb(map_.keyframes)}
            figures |= {"frames": len(frames), "frames_mb": size_mb(frames)}
            after.append(figures | {"settled": len(map_.anchored), "settled_mb": size_mb(map_.anchored)})
    largest = max(slam.odometry.all_segments(), key=lambda segment: len(segment.map.keyframes))
    imager = slam.odometry.mapper.imager
    refine(largest.map, largest.frames, imager, config)
    t_us, poses = final_poses(largest.map, largest.frames, imager, config)
    assert session.recording.groundtruth is not None
    error = position_error(Trajectory(t_us, camera_poses(poses)), session.recording.groundtruth)
    losses = len(slam.odometry.atlas.segments) + slam.odometry.atlas.num_returns
    return {"error": error.get("ate_sim3", error), "placed": len(t_us), "losses": losses, "passes": after}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    parser.add_argument("--out", type=Path, default=Path("runs/known_place"))
    arguments = parser.parse_args()
    folder = arguments.out / f"{arguments.recording.name}_{arguments.passes}"
    pass_us = lengthened(arguments.recording, arguments.passes, folder)
    config = load_config(overrides=["mode=6dof", *arguments.set])
    never = replace(config, cull=replace(config.cull, keyframes=NEVER))
    figures = {"culled": follow(folder, pass_us, config), "kept": follow(folder, pass_us, never)}
    print(json.dumps(figures | {"versions": versions()}, indent=2))


if __name__ == "__main__":
    main()
