"""Trajectory files in TUM form: text lines "t px py pz qx qy qz qw" that hold T_world_cam."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from evslam.errors import DataError
from evslam.io.columns import format_row, load_columns
from evslam.types import Trajectory

LAYOUT = "t px py pz qx qy qz qw"
MAX_NORM_ERROR = 1e-2
PRECISION = ".12g"


def load_trajectory(path: Path, minimum: int = 2) -> Trajectory:
    """Reads poses; quaternions whose norm is off by up to 1e-2 are normalised, repeated times left out.

    Args:
        path: the text file.
        minimum: the smallest number of poses that is of use.

    Returns:
        The trajectory, times strictly increasing, quaternions of unit norm.

    Raises:
        DataError: a quaternion is further from unit norm, or see `evslam.io.columns.load_columns`.
    """
    columns = load_columns(path, LAYOUT, minimum)
    poses = columns.values
    norm = np.linalg.norm(poses[:, 3:], axis=1)
    wrong = np.abs(norm - 1) > MAX_NORM_ERROR
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(
            f"{path}, line {columns.lines[index]}: quaternion has norm {norm[index]:.6g} instead of 1; columns must "
            f"be {LAYOUT}"
        )
    return Trajectory(columns.t_us, np.hstack([poses[:, :3], poses[:, 3:] / norm[:, None]]))


def save_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Writes poses in TUM form: seconds with six decimals, values with 12 significant digits."""
    with TrajectoryWriter(path) as writer:
        for t_us, pose in zip(trajectory.t_us.tolist(), trajectory.poses, strict=True):
            writer.append(t_us, pose)


class TrajectoryWriter:
    """Appends poses line by line; each line is on its way to the disk before `append` returns.

    Args:
        path: file to write.
        resume: go on after the last whole line of an existing file instead of starting anew.

    Raises:
        DataError: the existing file is no trajectory.

    Attributes:
        last_us: time of the last pose written, None before the first.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.last_us: int | None = None
        if resume and self.path.exists():
            _drop_partial_line(self.path)
            known = load_trajectory(self.path, minimum=0)
            self.last_us = int(known.t_us[-1]) if len(known) else None
        self._file = self.path.open("a" if resume else "w", encoding="ascii")

    def append(self, t_us: int, T_world_cam: np.ndarray | Tensor | Sequence[float]) -> None:
        """Writes one pose.

        Args:
            t_us: microseconds, later than the pose before.
            T_world_cam: (7,) translation and unit quaternion x y z w.

        Raises:
            DataError: the time is not later, or a value is not finite.
        """
        pose = np.asarray(T_world_cam, dtype=np.float64)
        if self.last_us is not None and t_us <= self.last_us:
            raise DataError(f"{self.path}: pose at {t_us} us does not follow {self.last_us} us; write poses in order")
        if pose.shape != (7,) or not np.isfinite(pose).all():
            raise DataError(f"{self.path}: pose at {t_us} us is {pose.tolist()}, not 7 finite numbers; leave it out")
        self._file.write(format_row(int(t_us), pose.tolist(), PRECISION))
        self._file.flush()
        self.last_us = int(t_us)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _drop_partial_line(path: Path) -> None:
    """Cuts off what an interrupted write left after the last line end."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
