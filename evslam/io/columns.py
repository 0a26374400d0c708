"""Text tables of numbers whose first column is time in seconds: the common part of trajectory and IMU files."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.files import read_text

MAX_SECONDS = 1e11
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """A table with strictly increasing times.

    Attributes:
        t_us: (N,) int64 microseconds.
        values: (N, C) float64, the columns after the time.
        lines: (N,) int, line number of each row, from 1.
        num_duplicates: rows left out because their time had been there before.
    """

    t_us: np.ndarray
    values: np.ndarray
    lines: np.ndarray
    num_duplicates: int


def load_columns(path: Path, layout: str, minimum: int) -> Columns:
    """Reads a table; lines that begin with # and empty lines are skipped, rows that repeat a time left out.

    Args:
        path: the text file.
        layout: names of the columns, such as "t px py pz qx qy qz qw"; t in seconds.
        minimum: the smallest number of rows that is of use.

    Returns:
        The table.

    Raises:
        DataError: a row has the wrong number of columns, a value that is no finite number or a time that is not in
            seconds or goes backwards, or there are too few rows.
    """
    names = layout.split()
    rows, lines = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            rows.append(_row(f"{path}, line {number}", words, names))
            lines.append(number)
    if len(rows) < minimum:
        raise DataError(f"{path}: {len(rows)} rows where at least {minimum} are needed ({layout}); give a longer file")
    table = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    t_us, line_numbers = np.rint(table[:, 0] * 1e6).astype(np.int64), np.array(lines, dtype=np.int64)
    keep = _increasing(path, t_us, line_numbers)
    num_duplicates = len(rows) - int(keep.sum())
    if num_duplicates:
        _log.warning("%s: %d rows repeat the time before them and were left out", path, num_duplicates)
    if keep.sum() < minimum:
        raise DataError(f"{path}: {keep.sum()} different times where at least {minimum} are needed; give a longer file")
    return Columns(t_us[keep], table[keep, 1:], line_numbers[keep], num_duplicates)


def format_row(t_us: int, values: Sequence[float], precision: str) -> str:
    """One line of a table: seconds with exactly six decimals, then the values."""
    seconds, micros = divmod(abs(t_us), 1_000_000)
    numbers = " ".join(format(float(value), precision) for value in values)
    return f"{'-' if t_us < 0 else ''}{seconds}.{micros:06d} {numbers}\n"


def _row(place: str, words: list[str], names: list[str]) -> list[float]:
    if len(words) != len(names):
        raise DataError(
            f"{place}: {len(words)} columns where {len(names)} are expected ({' '.join(names)}); correct the line"
        )
    values = []
    for name, word in zip(names, words, strict=True):
        try:
            values.append(float(word))
        except ValueError:
            raise DataError(f"{place}: {name} is {word!r}, not a number; correct or remove the line") from None
        if not math.isfinite(values[-1]):
            raise DataError(f"{place}: {name} is {word!r}, not finite; correct or remove the line")
    if abs(values[0]) > MAX_SECONDS:
        raise DataError(
            f"{place}: time {words[0]} cannot be in seconds; divide microseconds by 1e6, nanoseconds by 1e9"
        )
    return values


def _increasing(path: Path, t_us: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Which rows are newer than the row before; refuses times that go backwards."""
    step = np.diff(t_us)
    if (step < 0).any():
        index = int(np.argmax(step < 0))
        raise DataError(
            f"{path}, line {lines[index + 1]}: time goes back from {t_us[index] / 1e6:.6f} s to "
            f"{t_us[index + 1] / 1e6:.6f} s; sort the file by time"
        )
    return np.concatenate([np.ones(min(len(t_us), 1), bool), step > 0])
