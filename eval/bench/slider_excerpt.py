"""A start from a few centimetres of motion: direction of the translation and path, on a short real excerpt.

    python -m evslam.eval.bench.slider_excerpt FOLDER

FOLDER holds a camera that moves along a line without turning, such as the first 50 000 events of slider_depth of the
Event Camera Dataset: 45 mm, too little for a start under the default limits, which are lowered here; points do not wait
until the images have run in, which would take the first third of the motion. Printed as JSON:
the angle between the estimated and the true translation, with no alignment of orientations, and the error of the path
after the best scale and rotation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from evslam.config import load_config
from evslam.errors import DataError
from evslam.eval.association import Samples, associate
from evslam.eval.position import align
from evslam.eval.rotation import rotations
from evslam.io.recording import open_recording
from evslam.io.trajectory import load_trajectory
from evslam.provenance import versions
from evslam.runner import run
from evslam.session import RunOptions

FORCED = (
    "points.run_in_px=0",
    "bootstrap.interval_s=0.01",
    "bootstrap.min_duration_s=0.1",
    "bootstrap.min_angle_deg=1.5",
    "bootstrap.point_angle_deg=0.3",
    "bootstrap.confirm_s=0.01",
    "bootstrap.min_rival_ratio=1.0",
    "bootstrap.max_sigma=1.0",
)


def line_errors(samples: Samples) -> dict[str, Any]:
    """Errors of a motion along a line without turns.

    Returns:
        moved_mm: by the truth; direction_deg: between the principal directions in the first camera's frame, signed by
        the motion; path_rmse_mm, path_max_mm: after the best scale, rotation and translation; rotation_deg: the most
        that the estimate turns.
    """
    truth, estimate = (each.position - each.position[0] for each in (samples.groundtruth, samples.estimate))
    turn = [each[0].inv() for each in (rotations(samples.groundtruth), rotations(samples.estimate))]
    directions = [_direction(r.apply(p)) for r, p in zip(turn, (truth, estimate), strict=True)]
    aligned = align(samples, with_scale=True).apply(samples.estimate)
    error = np.linalg.norm(aligned.position - samples.groundtruth.position, axis=1)
    turns = rotations(samples.estimate)
    return {
        "moved_mm": 1000 * float(np.linalg.norm(truth[-1])),
        "direction_deg": float(np.degrees(np.arccos(np.clip(directions[0] @ directions[1], -1, 1)))),
        "path_rmse_mm": 1000 * float(np.sqrt(np.mean(error**2))),
        "path_max_mm": 1000 * float(error.max()),
        "rotation_deg": float(np.degrees((turns[0].inv() * turns).magnitude().max())),
        "samples": len(samples),
    }


def _direction(positions: np.ndarray) -> np.ndarray:
    """Unit vector of the line through positions (N, 3), pointing from the first to the last."""
    direction = np.linalg.svd(positions - positions.mean(0))[2][0]
    return np.asarray(direction * np.sign(direction @ (positions[-1] - positions[0])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    arguments = parser.parse_args()
    config = load_config(overrides=["mode=6dof", *FORCED, *arguments.set])
    truth = open_recording(arguments.recording).groundtruth
    if truth is None:
        raise SystemExit(f"{arguments.recording}: no ground truth")
    with tempfile.TemporaryDirectory() as folder:
        metrics = run(RunOptions(arguments.recording, Path(folder), progress=False), config)
        figures: dict[str, Any] = {
            key: metrics[key] for key in ("starts", "start_attempts", "waiting_for", "keyframes")
        }
        try:
            figures |= line_errors(associate(load_trajectory(Path(folder) / "trajectory.txt"), truth))
        except DataError as error:
            figures["reason"] = str(error)
    print(json.dumps(figures | {"commit": versions().get("commit")}, indent=2))


if __name__ == "__main__":
    main()
