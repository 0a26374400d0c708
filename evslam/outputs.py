"""The files of a run's folder, written while the run goes on so that an interruption loses nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import torch

from evslam.errors import ConfigError, DataError
from evslam.io.results import write_ply
from evslam.io.trajectory import TrajectoryWriter, load_trajectory
from evslam.mapping.panorama import Panorama
from evslam.objective import BatchContrast
from evslam.types import TrackingState, TrackResult
from evslam.viz.batch_log import load_batch_log
from evslam.viz.images import save_compensation, save_panorama
from evslam.viz.plots import plot_run

BATCH_COLUMNS = "t_ref_us,vx,vy,vz,wx,wy,wz,state,contrast,evaluations,num_events"
CHECKPOINT_FILE = "checkpoint.pt"
POSED = (TrackingState.TRACKING, TrackingState.SPARSE)


class RunWriter:
    """Writes trajectory.txt and batches.csv line by line, and checkpoints that a later run can go on from.

    Args:
        folder: the run's folder, which exists.
        resume: go on after the checkpoint in the folder: lines written after it are cut off.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder = folder
        if resume:
            sizes = load_checkpoint(folder)["sizes"]
            for name, size in sizes.items():
                os.truncate(folder / name, size)
        self.trajectory = TrajectoryWriter(folder / "trajectory.txt", resume=resume)
        self.batches: IO[str] = (folder / "batches.csv").open("a" if resume else "w", encoding="ascii")
        if not resume:
            self.batches.write(BATCH_COLUMNS + "\n")

    def write(self, result: TrackResult) -> None:
        """Append one batch; a pose is written when it is tracked or bridged, never when it is lost."""
        twist = ",".join(f"{value:.9g}" for value in result.twist.tolist())
        numbers = f"{result.contrast:.6g},{result.evaluations},{result.num_events}"
        self.batches.write(f"{result.t_ref_us},{twist},{result.state.value},{numbers}\n")
        if result.state in POSED:
            self.trajectory.append(result.t_ref_us, result.T_world_cam)

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Save what a resumed run needs; replaces the earlier checkpoint in one step."""
        self.batches.flush()
        sizes = {name: (self.folder / name).stat().st_size for name in ("trajectory.txt", "batches.csv")}
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


def write_map(folder: Path, panorama: Panorama | None) -> int:
    """panorama.png and map.ply of a rotation; returns the number of map points (0 without a map)."""
    if panorama is None:
        return 0
    points = panorama.points()
    write_ply(points, folder / "map.ply")
    save_panorama(panorama.image.cpu().numpy(), folder / "panorama.png")
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
