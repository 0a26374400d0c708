"""The files of a run's folder, written while the run goes on so that an interruption loses nothing."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from evslam.errors import ConfigError, DataError
from evslam.io.results import write_ply
from evslam.io.trajectory import TrajectoryWriter, load_trajectory, save_trajectory
from evslam.mapping.panorama import brightest_points
from evslam.objective import BatchContrast
from evslam.types import PointMap, TrackingState, TrackResult, Trajectory
from evslam.viz.batch_log import load_batch_log
from evslam.viz.images import save_compensation, save_panorama
from evslam.viz.plots import plot_run

_TWIST = ("vx", "vy", "vz", "wx", "wy", "wz")
COVARIANCE_COLUMNS = [f"cov_{a}_{b}" for a, b in combinations_with_replacement(_TWIST, 2)]  # the upper triangle
BATCH_COLUMNS = ["t_ref_us", *_TWIST, "state", "contrast", "evaluations", "num_events", *COVARIANCE_COLUMNS]
_UPPER = np.triu_indices(6)
CHECKPOINT_FILE = "checkpoint.pt"
ONLINE_FILE = "trajectory_online.txt"
POSED = (TrackingState.TRACKING, TrackingState.SPARSE)


class RunWriter:
    """Writes trajectory_online.txt and batches.csv line by line, and checkpoints that a later run can go on from.

    Args:
        folder: the run's folder, which exists.
        latency_us: microseconds taken off the time stamps of poses.
        resume: go on after the checkpoint in the folder: lines written after it are cut off.
    """

    def __init__(self, folder: Path, latency_us: int, *, resume: bool) -> None:
        self.folder, self.latency_us = folder, latency_us
        if resume:
            sizes = load_checkpoint(folder)["sizes"]
            for name, size in sizes.items():
                os.truncate(folder / name, size)
        self.trajectory = TrajectoryWriter(folder / ONLINE_FILE, resume=resume)
        self.batches: IO[str] = (folder / "batches.csv").open("a" if resume else "w", encoding="ascii")
        if not resume:
            self.batches.write(",".join(BATCH_COLUMNS) + "\n")
            self.batches.flush()

    def write(self, result: TrackResult) -> None:
        """Append one batch, on its way to the disk before this returns: whatever kills the run leaves it readable.

        Poses are written when it is tracked or bridged, never when it is lost.
        """
        twist = ",".join(f"{value:.9g}" for value in result.twist.tolist())
        numbers = f"{result.contrast:.6g},{result.evaluations},{result.num_events}"
        upper = result.covariance.numpy()[_UPPER]
        covariance = ",".join("" if math.isnan(value) else f"{value:.6g}" for value in upper.tolist())
        self.batches.write(f"{result.t_ref_us},{twist},{result.state.value},{numbers},{covariance}\n")
        self.batches.flush()
        if result.state not in POSED:
            return
        if result.path is None:
            self.trajectory.append(result.t_ref_us - self.latency_us, result.T_world_cam)
        else:
            for t_us, pose in zip(result.path.t_us, result.path.poses, strict=True):
                self.trajectory.append(int(t_us) - self.latency_us, pose)

    def online(self) -> Trajectory:
        """What was written so far, with the times of the events."""
        self.close()
        online = load_trajectory(self.folder / ONLINE_FILE, minimum=0)
        return Trajectory(online.t_us + self.latency_us, online.poses)

    def write_final(self, final: Trajectory, latency_ms: float | None) -> None:
        """trajectory.txt: the final estimate.

        Args:
            final: with the times of the events.
            latency_ms: to be taken off instead of that of the online trajectory; None for the same.
        """
        self._save(final, latency_ms, "trajectory.txt")

    def write_keyframes(self, keyframes: Trajectory, latency_ms: float | None) -> None:
        """keyframes.txt; arguments as those of `write_final`."""
        self._save(keyframes, latency_ms, "keyframes.txt")

    def _save(self, trajectory: Trajectory, latency_ms: float | None, name: str) -> None:
        latency_us = self.latency_us if latency_ms is None else round(1000 * latency_ms)
        save_trajectory(Trajectory(trajectory.t_us - latency_us, trajectory.poses), self.folder / name)

    def restart(self) -> RunWriter:
        """Begin again with empty files, without a checkpoint."""
        self.close()
        (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        return RunWriter(self.folder, self.latency_us, resume=False)

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Save what a resumed run needs; replaces the earlier checkpoint in one step."""
        sizes = {name: (self.folder / name).stat().st_size for name in (ONLINE_FILE, "batches.csv")}
        part = self.folder / (CHECKPOINT_FILE + ".part")
        torch.save(state | {"sizes": sizes}, part)
        os.replace(part, self.folder / CHECKPOINT_FILE)

    def close(self) -> None:
        """Close both files."""
        self.trajectory.close()
        self.batches.close()


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The last checkpoint of a run.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: no {CHECKPOINT_FILE} to resume from; run without --resume, with --overwrite")
    try:
        return dict(torch.load(path, weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ConfigError(f"{path}: cannot be read ({reason}); run without --resume, with --overwrite") from error


def write_panorama(folder: Path, panorama: np.ndarray, max_points: int) -> int:
    """panorama.png, panorama.npy (counts) and map.ply of a rotation; returns the number of map points."""
    np.save(folder / "panorama.npy", panorama)
    save_panorama(panorama, folder / "panorama.png")
    return write_points(folder, brightest_points(panorama, max_points))


def write_points(folder: Path, points: PointMap) -> int:
    """map.ply; returns the number of points."""
    write_ply(points, folder / "map.ply")
    return len(points.points)


def write_compensation(folder: Path, contrast: BatchContrast, result: TrackResult) -> None:
    """images/compensation.png: one batch's events before and after motion compensation."""
    twist = result.twist.to(contrast.batch.t)
    before, after = (contrast.iwe(each).cpu().numpy() for each in (torch.zeros_like(twist), twist))
    save_compensation(before, after, folder / "images" / "compensation.png")


def write_plots(folder: Path) -> None:
    """plots/ from the files that the run wrote; nothing when there are no poses."""
    try:
        trajectory = load_trajectory(folder / "trajectory.txt")
    except DataError:
        return
    plot_run(folder, trajectory, load_batch_log(folder / "batches.csv"))


@contextmanager
def log_file(path: Path, *, append: bool) -> Iterator[None]:
    """Send the package's log to a file, too, which is begun anew or, with `append`, goes on."""
    handler = logging.FileHandler(path, mode="a" if append else "w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("evslam")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
