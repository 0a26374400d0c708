"""Are the covariances of batches.csv right? Normalised errors against ground truth.

    python -m evslam.eval.bench.covariance [--mode rotation|6dof] RECORDING...

Mode rotation: angular velocity. For a normal distribution with that covariance, the squared normalised error of three
components has the median 2.37 and the mean 3; the last two columns are the measured ones over these. Systematic errors
(latency times acceleration, a velocity that is not constant) raise the mean. The constant latency is taken out first.

Mode 6dof: online pose against the map at hand, by six components with the median 5.35 and the mean 6. The covariance
takes the map as right; so the poses of every half second are aligned to the truth by a similarity of their own. The
latency is left in: a camera that hardly turns does not tell it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation, Slerp
from scipy.stats import chi2

from evslam.config import load_config
from evslam.eval.evaluate import evaluate
from evslam.geometry.trajectory import interpolate
from evslam.io.recording import open_recording
from evslam.io.trajectory import load_trajectory
from evslam.outputs import COVARIANCE_COLUMNS
from evslam.runner import run
from evslam.session import RunOptions
from evslam.types import Trajectory

_HALF_S = 0.005
_WINDOW_S, _MIN_POSES = 0.5, 12
_ALIGNED = 7  # parameters of a similarity


def rate_errors(recording: Path, duration_s: float | None) -> np.ndarray:
    """(N,) squared errors of the angular velocities of a run, normalised by their covariance."""
    batches, _, truth, shift_us = _tracked(recording, duration_s, "rotation")
    rotation = Slerp(truth.t_us * 1e-6, Rotation.from_quat(truth.quaternion))
    t = (batches["t_ref_us"].to_numpy() + shift_us) * 1e-6
    kept = (t - _HALF_S > truth.t_us[0] * 1e-6) & (t + _HALF_S < truth.t_us[-1] * 1e-6)
    t, batches = t[kept], batches[kept]
    omega = (rotation(t - _HALF_S).inv() * rotation(t + _HALF_S)).as_rotvec() / (2 * _HALF_S)
    error = batches[["wx", "wy", "wz"]].to_numpy() - omega
    return _normalised(error, _covariances(batches)[:, 3:, 3:])


def pose_errors(recording: Path, duration_s: float | None) -> np.ndarray:
    """(N,) squared errors of the online poses of a run against its map, normalised by their covariance."""
    batches, online, truth, _ = _tracked(recording, duration_s, "6dof")
    t_us = batches["t_ref_us"].to_numpy()
    kept = (t_us > truth.t_us[0]) & (t_us < truth.t_us[-1])
    t_us, covariance = t_us[kept], _covariances(batches[kept])
    poses = online.poses[np.searchsorted(online.t_us, t_us)]
    true = interpolate(truth, t_us)
    errors = []
    for rows in _windows(t_us):
        freedom = 6 * len(rows) / (6 * len(rows) - _ALIGNED)
        errors.append(freedom * _normalised(aligned_errors(poses[rows], true[rows]), covariance[rows]))
    return np.concatenate(errors)


def aligned_errors(poses: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(N, 6) errors (v, w) in the camera frame, T_world_cam exp((v, w)), of poses (N, 7) after the best similarity.

    The similarity turns as the orientations say, not the positions, which may lie on a line.
    """
    turn, true_turn = Rotation.from_quat(poses[:, 3:]), Rotation.from_quat(true[:, 3:])
    alignment = (true_turn * turn.inv()).mean()
    place, true_place = alignment.apply(poses[:, :3]), true[:, :3]
    centred, true_centred = place - place.mean(0), true_place - true_place.mean(0)
    scale = (centred * true_centred).sum() / (centred**2).sum()
    v = true_turn.inv().apply(true_centred / scale - centred)
    return np.concatenate([v, (turn.inv() * alignment.inv() * true_turn).as_rotvec()], 1)


def _tracked(
    recording: Path, duration_s: float | None, mode: str
) -> tuple[pd.DataFrame, Trajectory, Trajectory, float]:
    """Tracked batches of a run, its online trajectory, the ground truth, and what to add to the run's times."""
    truth = open_recording(recording).groundtruth
    if truth is None:
        raise SystemExit(f"{recording}: no ground truth")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        options = RunOptions(recording, out, duration_s=duration_s, progress=False)
        run(options, load_config(overrides=[f"mode={mode}", "refine.use=false"]))
        shift_ms = evaluate(out).figures["rotation"]["time_shift"]["shift_ms"] or 0.0
        batches = pd.read_csv(out / "batches.csv").query("state == 'tracking'").dropna()
        return batches, load_trajectory(out / "trajectory_online.txt"), truth, 1000 * shift_ms


def _covariances(batches: pd.DataFrame) -> np.ndarray:
    """(N, 6, 6)"""
    covariance, (row, column) = np.zeros((len(batches), 6, 6)), np.triu_indices(6)
    covariance[:, row, column] = covariance[:, column, row] = batches[COVARIANCE_COLUMNS].to_numpy()
    return covariance


def _windows(t_us: np.ndarray) -> Iterator[np.ndarray]:
    number = (t_us - t_us[0]) // round(_WINDOW_S * 1e6)
    for each in np.unique(number):
        rows = np.flatnonzero(number == each)
        if len(rows) >= _MIN_POSES:
            yield rows


def _normalised(error: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("rotation", "6dof"), default="rotation")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds of each recording")
    parser.add_argument("recordings", nargs="+", type=Path)
    arguments = parser.parse_args()
    measure, freedom = (rate_errors, 3) if arguments.mode == "rotation" else (pose_errors, 6)
    for recording in arguments.recordings:
        errors = measure(recording, arguments.duration)
        median, mean = np.median(errors) / chi2(freedom).median(), errors.mean() / freedom
        print(f"{recording.resolve().name}: {len(errors)} batches, median {median:.2f}, mean {mean:.2f}", flush=True)


if __name__ == "__main__":
    main()
