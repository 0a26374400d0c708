"""How often 6-DoF tracking starts right, how long it waits, and how often it starts where it must not: turning cameras.

    python -m evslam.eval.bench.starts boxes desk --turning pan fast --number 10

Starts are tried at times spread over each recording. A start is right when the error of the first 3 s after it is under
a quarter of that of a motionless estimate: as poses were told at the time, and, in the end, as the final trajectory has
them when the run ends after these 3 s. Recordings under --turning hold pure rotations, of which a few seconds are
looked at from each time: every start there is false. Recordings are folders or files with ground truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from evslam.config import Config, load_config
from evslam.eval.spatial import START_S, judge_start
from evslam.geometry.trajectory import camera_poses
from evslam.io.recording import open_recording
from evslam.outputs import POSED
from evslam.provenance import versions
from evslam.reconstruction import final_poses, refine
from evslam.session import RunOptions, open_session
from evslam.slam import SpatialSlam
from evslam.types import Trajectory


@dataclass(frozen=True)
class FirstSeconds:
    """The first 3 s after the start of 6-DoF tracking; without poses when nothing started within the patience.

    Attributes:
        online: poses as they were told at the time.
        final: poses after the last refinement.
        start_us: begin of the run.
        waiting_for: what a start was waited for last.
    """

    online: Trajectory
    final: Trajectory
    start_us: int
    waiting_for: str


def first_seconds(path: Path, start_s: float, patience_s: float, config: Config) -> FirstSeconds:
    """Wait for a start, and track for 3 s.

    Args:
        path: recording.
        start_s: seconds after its first event where to begin.
        patience_s: how long to wait for a start.
        config: resolved configuration.
    """
    session = open_session(RunOptions(path, Path(), start_s=start_s, duration_s=patience_s + START_S), config)
    imu = session.imu(config)
    slam = SpatialSlam(session.camera, config, None if imu is None else imu.imu)
    times, poses = list[int](), list[np.ndarray]()
    batched = replace(config, batch=config.frame.batching)
    for batch in session.batches(batched, session.start_us, lambda: slam.pace):
        result = slam.process(batch)
        if result.state in POSED:
            times.append(result.t_ref_us)
            poses.append(result.T_world_cam.numpy())
        waited_s = ((times[0] if times else result.t_ref_us) - session.start_us) * 1e-6
        if waited_s > patience_s or (times and result.t_ref_us - times[0] > START_S * 1e6):
            break
    online = Trajectory(np.array(times, np.int64), np.array(poses).reshape(-1, 7))
    final = _final(slam, times[0], config) if times else online
    return FirstSeconds(online, final, session.start_us, slam.odometry.starting.bootstrap.reason)


def _final(slam: SpatialSlam, from_us: int, config: Config) -> Trajectory:
    """Final poses from a time on, by the newest map."""
    segments, imager = slam.odometry.all_segments(), slam.odometry.mapper.imager
    if not segments:
        return Trajectory(np.zeros(0, np.int64), np.zeros((0, 7)))
    refine(segments[-1].map, segments[-1].frames, imager, config)
    t_us, poses = final_poses(segments[-1].map, segments[-1].frames, imager, config)
    late = t_us >= from_us
    return Trajectory(t_us[late], camera_poses(poses[late]))


def trials(path: Path, number: int, patience_s: float, config: Config) -> Iterator[dict[str, Any]]:
    """One row per start time; the last one leaves time to wait and 3 s more, in short recordings three quarters."""
    recording = open_recording(path)
    truth = recording.groundtruth
    if truth is None:
        raise SystemExit(f"{path}: no ground truth")
    length_s = (recording.reader.t_last_us - recording.reader.t_first_us) * 1e-6
    last_s = max(length_s - START_S - patience_s, length_s / 4)
    for start_s in tqdm(np.linspace(0, last_s, number), desc=path.name, unit="start"):
        first = first_seconds(path, float(start_s), patience_s, config)
        row = {"recording": path.name, "start_s": round(float(start_s), 3), "started": bool(len(first.online))}
        final = judge_start(first.final, truth, first.start_us)
        row |= judge_start(first.online, truth, first.start_us) | {"waiting_for": first.waiting_for}
        yield row | {"right_in_the_end": final["right"], "final_percent_of_null": final["percent_of_null"]}


def summary(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Per recording and over all: trials, starts, right ones, their share, those right in the end; waiting times."""
    groups = {name: [r for r in rows if r["recording"] == name] for name in dict.fromkeys(r["recording"] for r in rows)}
    lines = []
    for name, group in (groups | {"all": rows}).items():
        waits = [row["wait_s"] for row in group if row["started"]]
        right = sum(row["right"] for row in group if row["started"])
        line = {"recording": name, "trials": len(group), "started": len(waits), "right": right}
        line |= {"right [%]": f"{100 * right / len(waits):.1f}" if waits else ""}
        line |= {"right in the end": sum(bool(row["right_in_the_end"]) for row in group)}
        line |= {"median wait [s]": f"{np.median(waits):.2f}" if waits else ""}
        lines.append(line | {"longest wait [s]": f"{max(waits):.2f}" if waits else ""})
    return pd.DataFrame(lines)


def false_starts(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Per turning recording and over all: trials and starts."""
    table = pd.DataFrame(rows).groupby("recording", sort=False)["started"].agg(trials="count", starts="sum")
    table.loc["all"] = table.sum()
    return table.reset_index()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path, help="a camera that moves")
    parser.add_argument("--turning", nargs="+", type=Path, default=[], help="a camera that only turns")
    parser.add_argument("--number", type=int, default=10, help="start times per recording (default: 10)")
    parser.add_argument("--patience", type=float, default=6.0, help="seconds that a start may take (default: 6)")
    parser.add_argument("--look", type=float, default=3.0, help="the same where the camera only turns (default: 3)")
    parser.add_argument("--imu", action="store_true", help="use the gyroscope")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    parser.add_argument("--out", type=Path, help="JSON file with every trial")
    arguments = parser.parse_args()
    config = load_config(overrides=["mode=6dof", f"gyro.use={str(arguments.imu).lower()}", *arguments.set])
    moving = [r for path in arguments.recordings for r in trials(path, arguments.number, arguments.patience, config)]
    turning = [r for path in arguments.turning for r in trials(path, arguments.number, arguments.look, config)]
    for rows, table in ((moving, summary), (turning, false_starts)):
        if rows:
            print(table(rows).to_markdown(index=False, disable_numparse=True), end="\n\n")
    print("commit", versions().get("commit", "unknown"))
    if arguments.out:
        arguments.out.write_text(json.dumps({"moving": moving, "turning": turning}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
