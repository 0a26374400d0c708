"""Metric scale and gravity by the IMU: free motions of the simulator, run with --imu, against what was simulated.

    python -m evslam.eval.bench.inertial boxes_6dof desk poster_6dof --seeds 1 2 --duration 10 --out runs/inertial

Prints a line of JSON per run: errors of scale (percent), of the direction of gravity (degrees), of both biases, what
the run itself says of its scale, and the position error with and without alignment of the scale; then their medians
over the runs whose scale was sure. Recordings that are in the folder already are not simulated again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.config import Config, load_config
from evslam.demo import write_simulation
from evslam.eval.association import associate
from evslam.eval.position import align
from evslam.io.recording import META_FILE, open_recording
from evslam.io.sensor import read_meta
from evslam.io.trajectory import load_trajectory
from evslam.provenance import versions
from evslam.runner import run
from evslam.session import RunOptions

MEDIANS = ("scale_error_percent", "gravity_error_deg", "ate_se3_mm", "ate_sim3_mm")


def measure(recording: Path, out: Path, config: Config, duration_s: float | None) -> dict[str, Any]:
    """Run a simulated recording with its IMU; errors of what the IMU told, None where it told nothing."""
    metrics = run(RunOptions(recording, out, duration_s=duration_s, overwrite=True, progress=False), config)
    told, truth = metrics["imu"], open_recording(recording).groundtruth
    assert truth is not None
    row = {"metric": told["metric"], "reason": told["reason"], "compared_s": told["duration_s"]}
    if told["scale"] is None:
        return row
    samples = associate(load_trajectory(out / "trajectory.txt"), truth)
    left = align(samples, with_scale=True).scale  # metres per unit of what was written
    scale_error = 1 / left - 1 if told["metric"] else told["scale"] / left - 1
    row |= {"scale_error_percent": 100 * scale_error, "scale_sigma_percent": 100 * told["scale_sigma"]}
    for name, with_scale in (("ate_sim3_mm", True), ("ate_se3_mm", False)):
        apart = align(samples, with_scale).apply(samples.estimate).position - samples.groundtruth.position
        row[name] = 1000 * float(np.sqrt(np.square(apart).sum(1).mean()))
    turns = [Rotation.from_quat(each.quaternion) for each in (samples.estimate, samples.groundtruth)]
    down = (turns[0] * turns[1].inv()).mean().apply([0.0, 0.0, -1.0])
    given = np.array([0.0, 0.0, -1.0]) if told["metric"] else _unit(told["gravity_in_first_camera"])
    row |= {"gravity_error_deg": float(np.degrees(np.arccos(np.clip(down @ given, -1, 1))))}
    row |= {"gravity_sigma_deg": told["gravity_sigma_deg"], "offset_ms": told["offset_ms"]}
    simulated = read_meta(recording / META_FILE)["imu"]
    for name, key in (("gyro_bias", "gyro_bias0"), ("accel_bias", "acc_bias0")):
        row[f"{name}_error"] = float(np.linalg.norm(np.subtract(told[name], simulated[key])))
    return row


def _unit(vector: list[float]) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="sequences of the simulator")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--duration", type=float, help="seconds to process; all by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    parser.add_argument("--out", type=Path, default=Path("runs/inertial"))
    arguments = parser.parse_args()
    config = load_config(overrides=["mode=6dof", "gyro.use=true", *arguments.set])
    rows = []
    for name, seed in ((name, seed) for name in arguments.names for seed in arguments.seeds):
        folder = arguments.out / f"{name}_{seed}"
        if not (folder / "recording" / META_FILE).is_file():
            write_simulation(name, folder / "recording", seed)
        rows.append(
            {"run": f"{name}_{seed}", **measure(folder / "recording", folder / "run", config, arguments.duration)}
        )
        print(json.dumps(rows[-1]), flush=True)
    sure = [row for row in rows if row["metric"]]
    medians = {name: float(np.median([abs(row[name]) for row in sure])) for name in MEDIANS if sure}
    summary = {"runs": len(rows), "sure": len(sure), "medians": medians, "duration_s": arguments.duration}
    print(json.dumps({**summary, "commit": versions().get("commit")}))


if __name__ == "__main__":
    main()
