"""What all files have in common: opening them with errors that a user can act on, values that can be written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from evslam.errors import DataError
from evslam.types import SensorSize


def opened(path: Path) -> BinaryIO:
    """Opens a file for reading bytes.

    Raises:
        DataError: it does not exist or cannot be opened.
    """
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from None


def read_text(path: Path) -> str:
    """The whole of a small UTF-8 text file.

    Raises:
        DataError: it does not exist, cannot be opened or is not text.
    """
    with opened(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file (byte {error.start}); give a text file") from None


def plain(value: Any) -> Any:
    """The value in types that JSON and YAML know; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def size_from(path: Path, entries: dict[str, Any]) -> SensorSize | None:
    """The sensor's resolution from the keys width and height of a file, None if it has neither.

    Raises:
        DataError: they are no whole numbers of pixels.
    """
    width, height = entries.get("width"), entries.get("height")
    if width is None and height is None:
        return None
    if not all(isinstance(value, int) and value > 0 for value in (width, height)):
        raise DataError(f"{path}: width {width!r} and height {height!r} must be whole numbers of pixels; correct them")
    return SensorSize(height=int(height), width=int(width))  # type: ignore[arg-type]
