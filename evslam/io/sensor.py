"""Finding out the resolution of the sensor that made a recording."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import yaml

from evslam.errors import DataError
from evslam.io.calibration import Intrinsics, read_intrinsics
from evslam.io.companions import Companions
from evslam.io.files import opened, read_text, size_from
from evslam.io.reader import EventReader
from evslam.types import SensorSize

# Width and height of sensors that are sold: DVS128, DAVIS240, ATIS, DVXplorer Lite, DAVIS346, VGA, HD.
KNOWN_SENSORS = ((128, 128), (240, 180), (304, 240), (320, 240), (346, 260), (640, 480), (1280, 720))
NUM_PROBED = 1_000_000
CENTRAL = (0.25, 0.75)  # share of the width and height where a principal point is plausible
REMEDY = "give the resolution: --set sensor.width=... --set sensor.height=..."
_log = logging.getLogger(__name__)


def sensor_size(
    reader: EventReader, given: SensorSize | None, meta: Path | None, images: Path | None, beside: Companions
) -> tuple[SensorSize, str]:
    """The resolution and, in words, where it comes from.

    Args:
        reader: reader of the events that accepts every pixel.
        given: what the user says; wins, with a warning if meta.yaml says otherwise.
        meta: meta.yaml with width and height.
        images: folder with PNG images of the sensor.
        beside: its dataset may know the sensor; the principal point of its calibration must be plausible for a
            guessed size.

    Raises:
        DataError: meta.yaml is malformed, or no known sensor fits the events.
        CalibrationError: the calibration file is malformed.
    """
    from_meta = None if meta is None else size_from(meta, read_meta(meta))
    if given is not None:
        if from_meta is not None and from_meta != given:
            _log.warning(
                "%s: says %dx%d pixels, the given %dx%d are used",
                meta, from_meta.width, from_meta.height, given.width, given.height,
            )  # fmt: skip
        return given, "given by the user"
    if from_meta is not None:
        return from_meta, "width and height in meta.yaml"
    if beside.size is not None:
        return beside.size, f"sensor of {beside.dataset}"
    calib = beside.calibration
    intrinsics = None if calib is None else read_intrinsics(calib, beside.camera)
    if calib is not None and intrinsics is not None and intrinsics.size is not None:
        return intrinsics.size, f"width and height in {calib.name}"
    if reader.sensor_size is not None:
        return reader.sensor_size, f"stated in {reader.path.name}"
    for image in sorted(images.glob("*.png"))[:1] if images is not None else []:
        return png_size(image), f"size of {image.parent.name}/{image.name}"
    return _guess(reader, intrinsics)


def read_meta(path: Path) -> dict[str, Any]:
    """Reads meta.yaml.

    Raises:
        DataError: it is missing, or no YAML mapping.
    """
    try:
        meta = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct or remove it") from None
    if not isinstance(meta, dict):
        raise DataError(f"{path}: holds no keys; correct or remove it")
    return meta


def png_size(path: Path) -> SensorSize:
    """Reads the size of an image from its PNG header.

    Raises:
        DataError: the file is no PNG image.
    """
    with opened(path) as file:
        header = file.read(24)
    if len(header) < 24 or not header.startswith(b"\x89PNG\r\n\x1a\n") or header[12:16] != b"IHDR":
        raise DataError(f"{path}: not a PNG image; remove it, or {REMEDY}")
    width, height = struct.unpack(">II", header[16:24])
    return SensorSize(height=height, width=width)


def _guess(reader: EventReader, intrinsics: Intrinsics | None) -> tuple[SensorSize, str]:
    """The smallest known sensor that holds the first events and has the principal point in its middle."""
    largest_x = largest_y = num_events = 0
    for events in reader.read():
        largest_x, largest_y = max(largest_x, int(events.x.max())), max(largest_y, int(events.y.max()))
        num_events += len(events)
        if num_events >= NUM_PROBED:
            break
    for width, height in KNOWN_SENSORS:
        size = SensorSize(height=height, width=width)
        if largest_x < width and largest_y < height and (intrinsics is None or _is_central(intrinsics, size)):
            beside = "" if intrinsics is None else " and the principal point"
            return size, f"guessed: smallest known sensor for the pixels up to ({largest_x}, {largest_y}){beside}"
    beside = "" if intrinsics is None else f" and the principal point ({intrinsics.cx:g}, {intrinsics.cy:g})"
    raise DataError(
        f"{reader.path}: no known sensor fits the pixels up to ({largest_x}, {largest_y}){beside}; {REMEDY}"
    )


def _is_central(intrinsics: Intrinsics, size: SensorSize) -> bool:
    low, high = CENTRAL
    return low <= intrinsics.cx / size.width <= high and low <= intrinsics.cy / size.height <= high
