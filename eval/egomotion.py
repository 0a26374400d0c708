"""Accuracy of egomotion: twists of packets against the gyroscope or the derivative of the ground-truth poses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evslam.egomotion import PacketMotion
from evslam.errors import DataError
from evslam.eval.association import is_covered
from evslam.eval.rotation import rotations
from evslam.geometry.trajectory import interpolate
from evslam.io.recording import Recording
from evslam.io.results import write_metrics
from evslam.types import Imu, Trajectory
from evslam.viz.plots import AXES, ESTIMATE, TRUTH, new_figure, save_figure

SOURCES = ("auto", "gyro", "poses")
MIN_SPEED = 0.05
_SHORTEST_US = 20_000


@dataclass(frozen=True)
class Truth:
    """Mean velocities of P packets in the camera frame, NaN where unknown, and in words where they come from.

    Attributes:
        angular: (P, 3) rad/s.
        linear: (P, 3) m/s.
    """

    angular: np.ndarray
    linear: np.ndarray
    angular_source: str
    linear_source: str


def truth(recording: Recording, intervals_us: np.ndarray, source: str = "auto") -> Truth:
    """What a recording knows about the velocities of packets.

    Args:
        recording: with ground truth, IMU or neither.
        intervals_us: (P, 2) int64, beginning and end of each packet.
        source: of the angular velocity: gyro (mean over the packet), poses, or auto: gyro if there is one.

    Raises:
        DataError: the source does not exist, or the recording lacks it.
    """
    if source not in SOURCES:
        raise DataError(f"angular velocity from {source!r} is unknown; choose one of {', '.join(SOURCES)}")
    imu, trajectory = recording.imu, recording.groundtruth
    if (source == "gyro" and imu is None) or (source == "poses" and trajectory is None):
        raise DataError(f"{recording.path}: has no {source} to compare with; take another source or auto")
    angular, linear = np.full((2, len(intervals_us), 3), np.nan)
    angular_source = linear_source = "none"
    if trajectory is not None:
        linear, angular = _pose_rates(trajectory, intervals_us)
        angular_source = linear_source = "ground-truth poses, difference over the packet (at least 20 ms)"
    if imu is not None and source != "poses":
        angular, angular_source = gyro_means(imu, intervals_us), "gyro, mean over the packet, bias not removed"
    return Truth(angular, linear, angular_source, linear_source)


def gyro_means(imu: Imu, intervals_us: np.ndarray) -> np.ndarray:
    """Mean of the linearly interpolated gyro (P, 3) over intervals (P, 2); NaN outside the measurements."""
    seconds = (imu.t_us - imu.t_us[0]) * 1e-6
    steps = 0.5 * (imu.gyro[1:] + imu.gyro[:-1]) * np.diff(seconds)[:, None]
    turned = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
    # between two samples the integral is a parabola; with samples every millisecond a line is as good
    ends = (intervals_us - imu.t_us[0]) * 1e-6
    angles = np.stack([np.interp(ends, seconds, turned[:, axis], np.nan, np.nan) for axis in range(3)], -1)
    return np.asarray((angles[:, 1] - angles[:, 0]) / np.maximum(ends[:, 1] - ends[:, 0], 1e-9)[:, None])


def _pose_rates(trajectory: Trajectory, intervals_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3) linear and angular velocity in the frame of each packet's middle."""
    middle = intervals_us.mean(1).astype(np.int64)
    half = np.maximum(intervals_us[:, 1] - intervals_us[:, 0], _SHORTEST_US) // 2
    known = is_covered(trajectory, middle - half) & is_covered(trajectory, middle + half)
    linear, angular = np.full((2, len(middle), 3), np.nan)
    if not known.any():
        return linear, angular
    times = [middle[known] + sign * half[known] for sign in (-1, 0, 1)]
    before, now, after = (Trajectory(t, interpolate(trajectory, t)) for t in times)
    seconds = 2e-6 * half[known, None]
    linear[known] = rotations(now).inv().apply(after.position - before.position) / seconds
    angular[known] = (rotations(before).inv() * rotations(after)).as_rotvec() / seconds
    return linear, angular


def angular_errors_deg(estimate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(P,) norm of the difference of angular velocities (P, 3), rad/s to degrees/s."""
    return np.asarray(np.degrees(np.linalg.norm(estimate - reference, axis=1)))


def fit_scale(estimate: np.ndarray, reference: np.ndarray) -> float:
    """The factor s that minimises sum |s estimate - reference|^2: metres per scene depth, one for a recording."""
    energy = float((estimate**2).sum())
    return float((estimate * reference).sum()) / energy if energy > 0 else 1.0


def direction_errors_deg(estimate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(P,) angle between linear velocities; NaN where the camera moves at less than MIN_SPEED m/s."""
    speed, estimated = np.linalg.norm(reference, axis=1), np.linalg.norm(estimate, axis=1)
    cosine = np.sum(estimate * reference, axis=1) / np.maximum(speed * estimated, 1e-12)
    return np.where(speed >= MIN_SPEED, np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.nan)


def rms(values: np.ndarray) -> float | None:
    """Root mean square of the finite values, None without any."""
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(finite**2))) if len(finite) else None


def summarise(motions: list[PacketMotion], known: Truth, motion: str) -> dict[str, Any]:
    """Figures of a recording: effort, and RMS errors against the truth.

    Returns:
        packets, evaluations and wall time per packet; angular_rms in deg/s as it is, after the median of the error
        (a gyro bias) is taken out, and of a motionless estimate (null); linear likewise in m/s after one scale for the
        whole recording, and the error of its direction in degrees.
    """
    twists = np.array([each.twist for each in motions]).reshape(-1, 6)
    figures: dict[str, Any] = {
        "packets": len(motions),
        "without_estimate": int(np.isnan(twists).any(1).sum()),
        "evaluations_per_packet": float(np.mean([each.evaluations for each in motions])) if motions else None,
        "wall_ms_per_packet": 1e3 * float(np.mean([each.wall_s for each in motions])) if motions else None,
    }
    if motion != "translation":
        figures["angular"] = _angular(twists[:, 3:], known)
    if motion != "rotation":
        figures["linear"] = _linear(twists[:, :3], known)
    return figures


def _angular(estimate: np.ndarray, known: Truth) -> dict[str, Any]:
    error = estimate - known.angular
    kept = np.isfinite(error).all(1)
    if not kept.any():
        return {"rms_deg_s": None, "source": known.angular_source}
    bias = np.median(error[kept], axis=0)
    return {
        "rms_deg_s": rms(np.degrees(np.linalg.norm(error[kept], axis=1))),
        "rms_median_removed_deg_s": rms(np.degrees(np.linalg.norm(error[kept] - bias, axis=1))),
        "null_deg_s": rms(np.degrees(np.linalg.norm(known.angular[kept], axis=1))),
        "median_error_deg_s": np.degrees(bias).tolist(),
        "packets": int(kept.sum()),
        "source": known.angular_source,
    }


def _linear(estimate: np.ndarray, known: Truth) -> dict[str, Any]:
    kept = np.isfinite(estimate).all(1) & np.isfinite(known.linear).all(1)
    if not kept.any():
        return {"rms_m_s": None, "source": known.linear_source}
    scale = fit_scale(estimate[kept], known.linear[kept])
    direction = direction_errors_deg(estimate[kept], known.linear[kept])
    moving = direction[np.isfinite(direction)]
    return {
        "rms_m_s": rms(np.linalg.norm(scale * estimate[kept] - known.linear[kept], axis=1)),
        "null_m_s": rms(np.linalg.norm(known.linear[kept], axis=1)),
        "scale_m": scale,
        "direction_median_deg": float(np.median(moving)) if len(moving) else None,
        "direction_rms_deg": rms(direction),
        "packets": int(kept.sum()),
        "source": f"{known.linear_source}; one scale for the recording, depth is unknown",
    }


def write_summary(recording: Recording, motions: list[PacketMotion], motion: str, out: Path) -> dict[str, Any]:
    """Compare with the recording's truth; writes summary.json and plots/velocity.png|pdf. Returns the figures."""
    intervals = np.array([[each.start_us, each.stop_us] for each in motions], np.int64).reshape(-1, 2)
    known = truth(recording, intervals)
    figures = summarise(motions, known, motion)
    write_metrics(figures, out / "summary.json")
    plot_velocities(motions, known, motion, out / "plots")
    return figures


def plot_velocities(motions: list[PacketMotion], known: Truth, motion: str, folder: Path) -> list[Path]:
    """Velocity over time, the truth in grey; linear velocity scaled to the truth where there is one."""
    twists = np.array([each.twist for each in motions]).reshape(-1, 6)
    t = np.array([each.t_ref_us for each in motions]) * 1e-6
    panels = []
    if motion != "translation":
        panels.append(("angular velocity", "deg/s", np.degrees(twists[:, 3:]), np.degrees(known.angular)))
    if motion != "rotation":
        kept = np.isfinite(twists).all(1) & np.isfinite(known.linear).all(1)
        scale = fit_scale(twists[kept, :3], known.linear[kept])
        unit = "m/s" if kept.any() else "depths/s"
        panels.append(("velocity", unit, scale * twists[:, :3], known.linear))
    figure, axes = new_figure(0.8 + 1.5 * 3, 3, len(panels))
    for column, (name, unit, estimate, reference) in enumerate(panels):
        for row in range(3):
            each = axes[row * len(panels) + column]
            each.plot(t, reference[:, row], color=TRUTH, lw=3.0, label="truth")
            each.plot(t, estimate[:, row], color=ESTIMATE, lw=1.1, marker=".", ms=3, label="estimate")
            each.set_ylabel(f"{'xyz'[row]} [{unit}]", color=AXES[row], fontsize=9)
        axes[column].set_title(name, fontsize=10)
        axes[2 * len(panels) + column].set_xlabel("time [s]")
    axes[0].legend(fontsize=8, frameon=False)
    return save_figure(figure, folder, "velocity")
