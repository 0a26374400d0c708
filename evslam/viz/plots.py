"""Plots of a run as PNG and PDF, ready for a paper. No pyplot, so nothing global is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from evslam.types import Trajectory
from evslam.viz.batch_log import BatchLog

# Okabe and Ito's palette, told apart by all kinds of colour vision.
ESTIMATE, TRUTH, ERROR = "#0072B2", "#AAAAAA", "#D55E00"
_ESTIMATE_WIDTH, _TRUTH_WIDTH = 1.1, 3.0
AXES = ("#D55E00", "#009E73", "#0072B2")
_STATES = {"starting": "#F0E442", "tracking": "#009E73", "sparse": "#56B4E9", "lost": "#D55E00"}
_WIDTH = 7.0
_GAP_S = 0.1
_STILL = 1e-9


def new_figure(height: float, rows: int = 1, columns: int = 1, share_time: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure of column width (inches) with its axes, drawn by Agg."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, sharex=share_time, squeeze=False).flat)
    for each in axes:
        each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
    return figure, axes


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Save as folder/name.png (200 dpi) and folder/name.pdf; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    for path in paths:
        figure.savefig(path, dpi=200)
    return paths


def plot_run(run_dir: Path, trajectory: Trajectory, batches: BatchLog | None = None) -> list[Path]:
    """Plots that need no ground truth: trajectory, position and rotation, angular velocity, tracking state.

    Args:
        run_dir: the plots go to run_dir/plots.
        trajectory: T_world_cam of the run.
        batches: what the run noted about each batch.
    """
    folder, saved = run_dir / "plots", []
    moves = len(trajectory) > 0 and bool(np.ptp(trajectory.position, axis=0).max() > _STILL)
    if moves:
        saved += save_figure(trajectory_figure(trajectory), folder, "trajectory")
    if len(trajectory):
        saved += save_figure(pose_figure(trajectory), folder, "pose")
    if batches is not None and len(batches):
        saved += save_figure(angular_velocity_figure(batches), folder, "angular_velocity")
        saved += save_figure(state_figure(batches, moves=moves), folder, "state")
    return saved


def plot_errors(
    run_dir: Path,
    estimate: Trajectory,
    groundtruth: Trajectory,
    errors: tuple[np.ndarray | None, np.ndarray],
) -> list[Path]:
    """Plots against ground truth; they replace those of the same name that `plot_run` made.

    Args:
        run_dir: the plots go to run_dir/plots.
        estimate, groundtruth: (N,) poses at the same times, the estimate aligned to the ground truth.
        errors: (N,) position error in metres (None: the run has no positions) and (N,) rotation error in degrees.
    """
    folder, saved = run_dir / "plots", []
    if errors[0] is not None:
        saved += save_figure(trajectory_figure(estimate, groundtruth), folder, "trajectory")
    saved += save_figure(pose_figure(estimate, groundtruth, with_position=errors[0] is not None), folder, "pose")
    return saved + save_figure(error_figure(estimate.t_us, *errors), folder, "error")


def trajectory_figure(estimate: Trajectory, groundtruth: Trajectory | None = None) -> Figure:
    """Top and side view of the camera positions, axes of equal scale.

    Ground truth has z upwards as a rule; without it the world is the first camera's frame, y downwards.
    """
    figure, axes = new_figure(3.4, 1, 2, share_time=False)
    unit = "scene unit" if groundtruth is None else "m"
    views = ((0, 2), (0, 1)) if groundtruth is None else ((0, 1), (0, 2))
    for each, (a, b), title in zip(axes, views, ("Top view", "Side view"), strict=True):
        if groundtruth is not None:
            each.plot(
                *_broken(groundtruth, groundtruth.position)[:, [a, b]].T,
                color=TRUTH,
                lw=_TRUTH_WIDTH,
                label="ground truth",
            )
        each.plot(
            *_broken(estimate, estimate.position)[:, [a, b]].T, color=ESTIMATE, lw=_ESTIMATE_WIDTH, label="estimate"
        )
        each.plot(*estimate.position[0, [a, b]], "o", color=ESTIMATE, ms=5, label="start")
        each.set(xlabel=f"{'xyz'[a]} [{unit}]", ylabel=f"{'xyz'[b]} [{unit}]")
        each.set_title(title, fontsize=10)
        each.set_aspect("equal", adjustable="datalim")
    if groundtruth is None:
        axes[1].invert_yaxis()
    _legend_above(figure, axes[0])
    return figure


def pose_figure(estimate: Trajectory, groundtruth: Trajectory | None = None, with_position: bool = True) -> Figure:
    """Position and rotation (relative to the first pose, Euler angles) over time, one row for each axis."""
    with_position = with_position and np.ptp(estimate.position, axis=0).max() > _STILL
    columns = 2 if with_position else 1
    figure, axes = new_figure(4.6, 3, columns)
    unit = "scene unit" if groundtruth is None else "m"
    for row, name in enumerate("xyz"):
        for trajectory, colour, width, label in (
            (groundtruth, TRUTH, _TRUTH_WIDTH, "ground truth"),
            (estimate, ESTIMATE, _ESTIMATE_WIDTH, "estimate"),
        ):
            if trajectory is None:
                continue
            t = _broken_time(trajectory)
            panels = [_relative_euler_deg(trajectory)]
            panels = [trajectory.position, *panels] if with_position else panels
            for column, values in enumerate(panels):
                line = _broken(trajectory, values)[:, row]
                axes[columns * row + column].plot(t, line, color=colour, lw=width, label=label)
        labels = [f"{name} [{unit}]", f"rotation {name} [deg]"][-columns:]
        for column, label in enumerate(labels):
            axes[columns * row + column].set_ylabel(label)
    for each in axes[-columns:]:
        each.set_xlabel("time [s]")
    figure.align_ylabels(axes)
    _legend_above(figure, axes[0])
    return figure


def error_figure(t_us: np.ndarray, position_m: np.ndarray | None, rotation_deg: np.ndarray) -> Figure:
    """Position and rotation error over time, the RMSE as a dashed line."""
    panels = [(rotation_deg, 1.0, "rotation error [deg]")]
    if position_m is not None:
        panels.insert(0, (position_m, 1e3, "position error [mm]"))
    figure, axes = new_figure(1.0 + 1.6 * len(panels), len(panels), 1)
    trajectory = Trajectory(t_us, np.zeros((len(t_us), 7)))
    for each, (values, factor, label) in zip(axes, panels, strict=True):
        scaled = factor * values
        rmse = float(np.sqrt(np.mean(scaled**2)))
        each.plot(_broken_time(trajectory), _broken(trajectory, scaled[:, None])[:, 0], color=ERROR, lw=1.0)
        each.axhline(rmse, color="0.3", lw=1.0, ls="--", label=f"RMSE {rmse:.3g}")
        each.set_ylim(bottom=0)
        each.set_ylabel(label)
        each.legend(loc="upper right", fontsize=8, frameon=False)
    axes[-1].set_xlabel("time [s]")
    figure.align_ylabels(axes)
    return figure


def angular_velocity_figure(batches: BatchLog) -> Figure:
    """Angular velocity of each batch about the camera's axes over time."""
    figure, axes = new_figure(2.8)
    t, rates = batches.t_us / 1e6, np.degrees(batches.twist[:, 3:])
    for axis, name in enumerate("xyz"):
        axes[0].plot(t, rates[:, axis], color=AXES[axis], lw=1.0, ls=("-", "--", "-.")[axis], label=name)
    axes[0].set(xlabel="time [s]", ylabel="angular velocity [deg/s]")
    _legend_above(figure, axes[0])
    return figure


def state_figure(batches: BatchLog, *, moves: bool) -> Figure:
    """Event rate and how well batches fit over time, the tracking state as background.

    Args:
        batches: what the run noted about each batch.
        moves: the camera moved freely (`TrackResult.contrast` is the share of points that agree with the map), or it
            turned (the contrast gained by motion compensation).
    """
    figure, axes = new_figure(3.6, 2, 1)
    t = batches.t_us / 1e6
    step = float(np.median(np.diff(t))) if len(t) > 1 else 1.0
    edges = np.append(t - step / 2, t[-1] + step / 2)
    begin = np.flatnonzero(np.append(True, batches.state[1:] != batches.state[:-1]))
    spans = np.stack([edges[begin], np.diff(edges[np.append(begin, len(t))])], 1)
    for each in axes:
        for state, colour in _STATES.items():
            mine = [(start, width) for start, width in spans[batches.state[begin] == state]]
            if mine:
                whole = each.get_xaxis_transform()
                each.broken_barh(mine, (0, 1), transform=whole, color=colour, alpha=0.25, lw=0, label=state)
    axes[0].plot(t, batches.contrast, color="0.1", lw=0.9)
    axes[0].axhline(1.0, color="0.4", lw=0.8, ls=":")
    axes[0].set_ylabel("points that agree" if moves else "contrast gain")
    axes[1].plot(t, batches.num_events / 1e3, color="0.1", lw=0.9)
    axes[1].set_ylim(bottom=0)
    axes[1].set(xlabel="time [s]", ylabel="events [1000]")
    figure.align_ylabels(axes)
    _legend_above(figure, axes[0])
    return figure


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)


def _relative_euler_deg(trajectory: Trajectory) -> np.ndarray:
    turned = Rotation.from_quat(trajectory.quaternion)
    return np.degrees(np.unwrap((turned[0].inv() * turned).as_euler("xyz"), axis=0))


def _pauses(t_us: np.ndarray) -> np.ndarray:
    steps = np.diff(t_us)
    longest = max(_GAP_S * 1e6, 3.0 * float(np.median(steps)) if len(steps) else 0.0)
    return np.flatnonzero(steps > longest) + 1


def _broken_time(trajectory: Trajectory) -> np.ndarray:
    return np.insert(trajectory.t_us / 1e6, _pauses(trajectory.t_us), np.nan)


def _broken(trajectory: Trajectory, values: np.ndarray) -> np.ndarray:
    """(N, C) values with a row of NaN at every pause, where the line is to be interrupted."""
    return np.insert(values, _pauses(trajectory.t_us), np.nan, axis=0)
