"""Depth maps of a simulated recording: an .npz file with t in seconds (K,) and depth in metres (K, H, W)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.files import opened


def save_depth(t_us: np.ndarray, maps: np.ndarray, path: Path) -> None:
    """Writes depth maps in half precision (three digits); infinity where there is nothing.

    Args:
        t_us: (K,) int64 microseconds.
        maps: (K, H, W) metres along the optical axis.
        path: file to write, its name ending in .npz.
    """
    np.savez_compressed(path, t=np.asarray(t_us) / 1e6, depth=np.asarray(maps).astype(np.float16))


def load_depth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads depth maps: times (K,) int64 microseconds and maps (K, H, W) float32 metres.

    Raises:
        DataError: the file is missing, unreadable or has another layout.
    """
    with opened(path) as file:
        try:
            with np.load(file) as arrays:
                t, maps = arrays["t"], arrays["depth"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
            raise DataError(f"{path}: no arrays t and depth can be read ({error}); write the file again") from None
    if maps.ndim != 3 or t.shape != maps.shape[:1]:
        raise DataError(f"{path}: t {t.shape} and depth {maps.shape} do not fit (K,) and (K, H, W); write it again")
    return np.rint(t * 1e6).astype(np.int64), maps.astype(np.float32)
