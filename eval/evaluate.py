"""Evaluation of one finished run against ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evslam.errors import DataError
from evslam.eval.association import MIN_POSES, Samples, associate, covered_seconds, overlap_us
from evslam.eval.position import Alignment, align, evaluate_position, reason_without_position, spread
from evslam.eval.rotation import absent, best_aligned_errors_deg, best_alignment, evaluate_rotation, rotations
from evslam.eval.velocity import evaluate_velocity
from evslam.io.groundtruth import GroundTruth, PoseOptions, load_groundtruth, pose_options
from evslam.io.pose_checks import compare_with_rates, rates_of
from evslam.io.recording import open_recording
from evslam.io.results import read_metrics
from evslam.io.trajectory import load_trajectory
from evslam.types import Trajectory
from evslam.viz.batch_log import load_batch_log

_FROM_RUN = (
    *("losses", "relocalisations", "loops", "keyframes", "duration_s"),
    *("real_time_factor", "events_per_second", "peak_memory_mb", "seed"),
)


@dataclass(frozen=True)
class ErrorSeries:
    """Errors over time, for plots.

    Attributes:
        estimate: the estimate in the ground truth's frame, at the sample times.
        groundtruth: the ground truth at the same times.
        groundtruth_in_estimate: the whole ground truth in the frame and scale of the estimate, for 3-D pictures.
        position_m: (N,) position error in metres, or None where the run has no positions.
        rotation_deg: (N,) orientation error in degrees after the best constant rotation.
        alignment: how the estimate was aligned, in words.
    """

    estimate: Trajectory
    groundtruth: Trajectory
    groundtruth_in_estimate: Trajectory
    position_m: np.ndarray | None
    rotation_deg: np.ndarray
    alignment: str


@dataclass(frozen=True)
class Evaluation:
    """Figures of a run (plain data, ready for JSON) and its errors over time."""

    figures: dict[str, Any]
    series: ErrorSeries


def evaluate_run(run_dir: Path, groundtruth: Path | None = None, *, t0_s: float = 0.1) -> dict[str, Any]:
    """Compute the accuracy figures of a finished run; see `evaluate`."""
    return evaluate(run_dir, groundtruth, t0_s=t0_s).figures


def evaluate(
    run_dir: Path, groundtruth: Path | None = None, *, t0_s: float = 0.1, options: PoseOptions | None = None
) -> Evaluation:
    """Compare a finished run with ground truth.

    Args:
        run_dir: folder with trajectory.txt and metrics.json.
        groundtruth: pose file of any form that `evslam.io.groundtruth` reads; the run's own when None.
        t0_s: seconds into the overlap at which the absolute rotation error starts; published figures use
            0.1 s on simulated and 1 s on real recordings.
        options: how to understand the ground truth; None for the file and the run's notes.

    Returns:
        Figures and errors over time. A figure that cannot be given is None and stands beside its reason.

    Raises:
        DataError: the run or the ground truth is missing, unreadable, too short, or they share no time.
    """
    run_dir = Path(run_dir)
    metrics = load_metrics(run_dir)
    mode, status = str(metrics.get("mode", "6dof")), str(metrics.get("status", "unknown"))
    truth_path, checked = _load_groundtruth(run_dir, metrics, groundtruth, options)
    truth = checked.trajectory
    figures: dict[str, Any] = {"run": run_dir.resolve().name, "recording": metrics.get("recording")}
    figures |= {"groundtruth": truth_path, "mode": mode, "status": status}
    figures |= {key: metrics.get(key) for key in _FROM_RUN}
    batches_path = run_dir / "batches.csv"
    if batches_path.exists():
        figures["velocity"] = evaluate_velocity(load_batch_log(batches_path), truth, mode)
    estimate = _load_estimate(run_dir / "trajectory.txt")
    figures["groundtruth_findings"] = [
        *checked.findings,
        *compare_with_rates(truth, *rates_of(estimate), "the estimate"),
    ]
    return _evaluate_poses(figures, estimate, truth, _span_us(metrics, estimate), t0_s)


def _evaluate_poses(
    figures: dict[str, Any], estimate: Trajectory, truth: Trajectory, span: tuple[int, int], t0_s: float
) -> Evaluation:
    samples = associate(estimate, truth)
    first, last = overlap_us(estimate, truth)
    covered = covered_seconds(estimate, *span)
    figures["coverage"] = {
        "percent": 100e6 * covered / (span[1] - span[0]),
        "seconds": covered,
        "protocol": "share of the time between the run's start and stop with a pose, pauses are losses",
    }
    figures["window"] = {
        "start_s": float(samples.t_us[0] / 1e6),
        "stop_s": float(samples.t_us[-1] / 1e6),
        "samples": len(samples),
        "percent_of_estimate": 100.0 * (last - first) / float(estimate.t_us[-1] - estimate.t_us[0]),
        "protocol": f"all times with estimate and ground truth, {samples.protocol}",
    }
    reason = reason_without_position(figures["mode"], samples.groundtruth)
    figures["position"] = absent(reason) if reason else evaluate_position(samples, estimate, truth)
    figures["rotation"] = evaluate_rotation(estimate, truth, t0_s)
    return Evaluation(figures, _series(samples, truth, has_position=reason is None))


def _series(samples: Samples, truth: Trajectory, has_position: bool) -> ErrorSeries:
    moves = spread(samples.estimate.position)[0] > 0
    if has_position and moves:
        alignment, name = align(samples, with_scale=True), "Sim(3) alignment"
    else:
        turn = best_alignment(rotations(samples.groundtruth), rotations(samples.estimate))
        alignment, name = Alignment(turn, np.zeros(3), 1.0), "best constant rotation"
    aligned = alignment.apply(samples.estimate)
    error = np.linalg.norm(aligned.position - samples.groundtruth.position, axis=1)
    return ErrorSeries(
        estimate=aligned,
        groundtruth=samples.groundtruth,
        groundtruth_in_estimate=alignment.apply_inverse(truth),
        position_m=error if has_position else None,
        rotation_deg=best_aligned_errors_deg(samples),
        alignment=name,
    )


def load_metrics(run_dir: Path) -> dict[str, Any]:
    """Read a run's metrics.json.

    Raises:
        DataError: the folder is not a run, or the file is damaged.
    """
    path = Path(run_dir) / "metrics.json"
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder that `evslam run` wrote")
    return read_metrics(path)


def _load_estimate(path: Path) -> Trajectory:
    if not path.exists():
        raise DataError(f"{path} does not exist: the run tracked nothing or was stopped early; run it again")
    estimate = load_trajectory(path, minimum=0)
    if len(estimate) < MIN_POSES:
        raise DataError(
            f"{path} holds {len(estimate)} poses, at least {MIN_POSES} are needed: "
            "see run.log for why tracking did not start, run a longer part of the recording, or shorter batches "
            "(--set batch.max_duration_s=0.02)"
        )
    return estimate


def _load_groundtruth(
    run_dir: Path, metrics: dict[str, Any], given: Path | None, options: PoseOptions | None
) -> tuple[str, GroundTruth]:
    """The given ground truth, or that of the run, read as the options or the run's notes say."""
    path, recording = given or metrics.get("groundtruth"), metrics.get("recording")
    if path is None and recording and Path(recording).exists():  # poses inside the recording's own file
        checked = open_recording(Path(recording)).pose_check
        if checked is not None:
            return str(recording), checked
    if path is None:
        raise DataError(f"the recording of {run_dir} has no ground truth: give one with --groundtruth FILE")
    if not Path(path).is_file():
        raise DataError(f"ground truth file {path} does not exist: give another with --groundtruth FILE")
    if options is None and given is None:
        options = pose_options(metrics.get("groundtruth_reading") or {})
    start, stop = metrics.get("start_us"), metrics.get("stop_us")
    span = None if start is None or stop is None else (int(start), int(stop))
    return str(path), load_groundtruth(Path(path), options, span)


def _span_us(metrics: dict[str, Any], estimate: Trajectory) -> tuple[int, int]:
    start, stop = metrics.get("start_us"), metrics.get("stop_us")
    start = int(estimate.t_us[0]) if start is None else int(start)
    return start, max(int(estimate.t_us[-1]) if stop is None else int(stop), start + 1)
