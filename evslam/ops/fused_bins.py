"""What the fused kernels share: the padded image, and where the taps of an event lie in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_simd import LINE, add_to, floor, store

CHUNK = 32  # vectors of events between two transfers of partial sums to float64
TAIL = 16  # numbers behind an image, because rows of taps are read as vectors
FX, FY, CX, CY, LOW, RIGHT, BOTTOM = range(7)  # entries of a view: focal lengths, centre, limits of the taps
INDEX = np.empty(0, np.int32)
JIT = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


@cache
def digest_of(folder: Path) -> str:
    """Short digest of the Python files of a folder."""
    contents = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        contents.update(path.read_bytes())
    return contents.hexdigest()[:12]


def compiled(function: Callable[..., Any]) -> Any:
    """numba.njit as all kernels need it, with a disk cache that knows what the kernel is made of.

    numba looks at the file of a function alone, but the pieces that are inlined into a kernel stand in several: the
    digest of all of them becomes part of the kernel's name, and so of its cache file.
    """
    function.__qualname__ += f".{digest_of(Path(__file__).parent)}"
    return numba.njit(**JIT)(function)


@dataclass(frozen=True)
class Grid:
    """Memory layout of padded images: rows of `stride` pixels, pixel (0, 0) at (pad, pad).

    The padding takes the votes outside the image; an event further out is put into its corner, where gradients
    are zero. So every event has all its taps in memory and the loops have no branches.
    """

    height: int
    width: int
    degree: int

    @property
    def pad(self) -> int:
        """Pixels on each side."""
        return self.degree + 1

    @property
    def stride(self) -> int:
        """Pixels from row to row, a multiple of 16."""
        return -(-(self.width + 2 * self.pad) // 16) * 16

    @property
    def rows(self) -> int:
        """With the padding."""
        return self.height + 2 * self.pad

    def zeros(self, dtype: np.dtype, channels: int = 1) -> np.ndarray:
        """Flat memory of an image, channels side by side."""
        return np.zeros((self.rows * self.stride + TAIL) * channels, dtype)

    def image(self, flat: np.ndarray) -> np.ndarray:
        """View (H, W) of the pixels of an image of one channel."""
        rows = flat[:-TAIL].reshape(self.rows, self.stride)
        return rows[self.pad : self.pad + self.height, self.pad : self.pad + self.width]

    def view(self, focal: tuple[float, float], centre: tuple[float, float], dtype: np.dtype) -> np.ndarray:
        """Projection to padded bins, and the limits within which all taps of the gradient lie in memory.

        Half a bin to spare on each side, against rounding; taps from beyond reach no pixel.
        """
        half, below = 0.5 * (self.degree % 2 == 0), self.degree // 2
        low, reach = below - half + 0.5, below - self.degree - half - 0.5
        right, bottom = (size + 2 * self.pad + reach for size in (self.width, self.height))
        return np.array([*focal, centre[0] + self.pad, centre[1] + self.pad, low, right, bottom], dtype)


@numba.njit(forceinline=True)
def place(bx: Any, by: Any, degree: int, stride: int, start: Any, sx: Any) -> Any:
    """Flat index of the first tap and position along x of each event to scratch; returns the position along y."""
    half, lowest = 0.5 * ((degree + 1) % 2), degree // 2
    bx, by = bx + half, by + half
    jx, jy = floor(bx), floor(by)
    store(sx, 0, bx - jx)
    store(start, 0, (jy - lowest) * stride + (jx - lowest))
    return by - jy


@numba.njit(inline="always")
def add3(partial: Any, row: int, weight: Any, vector: Any) -> None:
    """Add weight * vector to a row of three sums of vectors."""
    count = LINE // partial.itemsize
    add_to(partial, 3 * row * count, weight * vector[0])
    add_to(partial, (3 * row + 1) * count, weight * vector[1])
    add_to(partial, (3 * row + 2) * count, weight * vector[2])
