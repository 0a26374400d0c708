"""Is the covariance of the angular velocity right? Normalised errors against ground truth.

    python -m evslam.eval.bench.covariance RECORDING...

For a normal distribution with that covariance, the squared normalised error of three components has the median 2.37 and
the mean 3; the last two columns are the measured ones over these. Systematic errors (latency times acceleration, a
velocity that is not constant) raise the mean. The constant latency is taken out first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation, Slerp

from evslam.config import load_config
from evslam.eval.evaluate import evaluate
from evslam.io.recording import open_recording
from evslam.runner import run
from evslam.session import RunOptions

MEDIAN, MEAN = 2.366, 3.0  # of chi squared with three degrees of freedom
_HALF_S = 0.005


def normalised_errors(recording: Path) -> np.ndarray:
    """(N,) squared errors of the batches of a run, normalised by their covariance."""
    with tempfile.TemporaryDirectory() as folder:
        run(RunOptions(recording, Path(folder), progress=False), load_config(overrides=["mode=rotation"]))
        shift = evaluate(Path(folder)).figures["rotation"]["time_shift"]["shift_ms"] or 0.0
        batches = pd.read_csv(Path(folder) / "batches.csv").query("state == 'tracking'").dropna()
    truth = open_recording(recording).groundtruth
    if truth is None:
        raise SystemExit(f"{recording}: no ground truth")
    rotation = Slerp(truth.t_us * 1e-6, Rotation.from_quat(truth.quaternion))
    t = batches["t_ref_us"].to_numpy() * 1e-6 + shift * 1e-3
    kept = (t - _HALF_S > truth.t_us[0] * 1e-6) & (t + _HALF_S < truth.t_us[-1] * 1e-6)
    t, batches = t[kept], batches[kept]
    omega = (rotation(t - _HALF_S).inv() * rotation(t + _HALF_S)).as_rotvec() / (2 * _HALF_S)
    error = batches[["wx", "wy", "wz"]].to_numpy() - omega
    upper = batches[[f"cov_w{a}_w{b}" for a, b in ("xx", "xy", "xz", "yy", "yz", "zz")]].to_numpy()
    covariance = upper[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    return np.asarray(np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    for recording in parser.parse_args().recordings:
        errors = normalised_errors(recording)
        print(
            f"{recording.name}: {len(errors)} batches, median {np.median(errors) / MEDIAN:.2f}, "
            f"mean {errors.mean() / MEAN:.2f}"
        )


if __name__ == "__main__":
    main()
