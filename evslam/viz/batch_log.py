"""What a run noted about each batch of events (batches.csv)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evslam.errors import DataError

_TWIST = ["vx", "vy", "vz", "wx", "wy", "wz"]


@dataclass(frozen=True)
class BatchLog:
    """One entry per batch of events.

    Attributes:
        t_us: (N,) int64 time of the batch's pose in microseconds.
        twist: (N, 6) (v, omega) in the camera frame; omega in rad/s.
        state: (N,) names of the tracking state.
        contrast: (N,) objective after motion compensation divided by that before it.
        num_events: (N,) events used.
    """

    t_us: np.ndarray
    twist: np.ndarray
    state: np.ndarray
    contrast: np.ndarray
    num_events: np.ndarray

    def __len__(self) -> int:
        return len(self.t_us)


def load_batch_log(path: Path) -> BatchLog:
    """Read batches.csv.

    Raises:
        DataError: the file is missing, not a table, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
        return BatchLog(
            t_us=table["t_ref_us"].to_numpy(np.int64),
            twist=table[_TWIST].to_numpy(float),
            state=table["state"].to_numpy(str),
            contrast=table["contrast"].to_numpy(float),
            num_events=table["num_events"].to_numpy(np.int64),
        )
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: give the folder of a finished run") from None
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a table of batches ({reason}): run the recording again") from None
