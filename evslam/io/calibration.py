"""Camera calibration files: Event Camera Dataset text, and YAML where the text form does not suffice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from evslam.errors import CalibrationError, DataError
from evslam.geometry.camera import Camera
from evslam.io.files import read_text, size_from
from evslam.types import SensorSize

TEXT_LAYOUT = "fx fy cx cy k1 k2 p1 p2 k3"
PINHOLE_KEYS = ("fx", "fy", "cx", "cy")
KEYS = (*PINHOLE_KEYS, "model", "distortion", "width", "height")


@dataclass(frozen=True)
class Intrinsics:
    """What a calibration file says, before it meets a sensor.

    Attributes:
        fx, fy, cx, cy: focal lengths and principal point, pixels.
        model: "none", "radtan" or "equidistant".
        distortion: its coefficients; radtan k1 k2 p1 p2 k3, equidistant k1 to k4.
        size: the resolution calibrated for, where the file names it.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    model: str
    distortion: tuple[float, ...]
    size: SensorSize | None = None


def load_calibration(path: Path, size: SensorSize) -> Camera:
    """Reads a calibration for a sensor.

    Args:
        path: text with 4, 8 or 9 numbers (fx fy cx cy, then k1 k2 p1 p2 k3; k3 may be left out), or YAML with fx, fy,
            cx, cy, model (none, radtan, equidistant), distortion, and optionally width and height.
        size: the sensor's resolution.

    Returns:
        The camera.

    Raises:
        CalibrationError: the file is missing or malformed, or does not fit the sensor.
    """
    return to_camera(path, read_intrinsics(path), size)


def to_camera(path: Path, intrinsics: Intrinsics, size: SensorSize) -> Camera:
    """The camera of a calibration that was read from a file, for a sensor.

    Raises:
        CalibrationError: the calibration does not fit the sensor, or a value is impossible.
    """
    made_for = intrinsics.size
    if made_for is not None and made_for != size:
        raise CalibrationError(
            f"{path}: made for {made_for.width}x{made_for.height} pixels, "
            f"the sensor has {size.width}x{size.height}; give the calibration of this sensor with --calib FILE"
        )
    values = (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    try:
        return Camera(*values, size, intrinsics.model, intrinsics.distortion)  # type: ignore[arg-type]
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from None


def save_calibration(camera: Camera, path: Path) -> None:
    """Writes a calibration; a name that ends in .yaml or .yml gives YAML, any other the text form.

    Raises:
        CalibrationError: the text form cannot hold the camera's distortion model.
    """
    if Path(path).suffix in (".yaml", ".yml"):
        entries = {key: float(getattr(camera, key)) for key in PINHOLE_KEYS}
        distortion = [float(value) for value in camera.distortion]
        shape = {"width": camera.size.width, "height": camera.size.height}
        text = yaml.safe_dump({"model": camera.model, **entries, "distortion": distortion, **shape}, sort_keys=False)
    elif camera.model == "equidistant":
        raise CalibrationError(f"{path}: the text form cannot hold model equidistant; write a .yaml file")
    else:
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
        text = " ".join(f"{float(number)!r}" for number in numbers) + "\n"
    Path(path).write_text(text, encoding="utf-8")


def read_intrinsics(path: Path) -> Intrinsics:
    """Reads a calibration file alone; the form is recognised by its content.

    Raises:
        CalibrationError: the file is missing or malformed.
    """
    try:
        text = read_text(path)
        lines = [line.partition("#")[0] for line in text.splitlines()]
        return _from_yaml(path, text) if any(":" in line for line in lines) else _from_text(path, " ".join(lines))
    except DataError as error:
        raise CalibrationError(str(error)) from None


def _from_text(path: Path, text: str) -> Intrinsics:
    words = text.split()
    if len(words) not in (4, 8, 9):
        raise CalibrationError(
            f"{path}: {len(words)} numbers where 9 are expected ({TEXT_LAYOUT}), or 4 without distortion, or 8 "
            f"without k3; correct the file"
        )
    fx, fy, cx, cy, *distortion = (_number(path, word, position + 1) for position, word in enumerate(words))
    if len(distortion) == 4:
        distortion.append(0.0)
    return Intrinsics(fx, fy, cx, cy, "radtan" if distortion else "none", tuple(distortion))


def _from_yaml(path: Path, text: str) -> Intrinsics:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct the file") from None
    if not isinstance(entries, dict):
        raise CalibrationError(f"{path}: keys {', '.join(KEYS)} are expected; correct the file")
    unknown = [str(key) for key in entries if key not in KEYS]
    missing = [key for key in PINHOLE_KEYS if key not in entries]
    for fact, keys in (("unknown", unknown[:5]), ("missing", missing)):
        if keys:
            raise CalibrationError(f"{path}: {fact} keys {', '.join(keys)}; expected are {', '.join(KEYS)}")
    model, distortion = str(entries.get("model", "none")), entries.get("distortion") or []
    if not isinstance(distortion, list):
        raise CalibrationError(f"{path}: distortion is {distortion!r} where a list is expected, such as [0.1, 0.02]")
    numbers = tuple(_number(path, value, f"distortion[{index}]") for index, value in enumerate(distortion))
    if model == "radtan" and len(numbers) == 4:
        numbers = (*numbers, 0.0)
    fx, fy, cx, cy = (_number(path, entries[key], key) for key in PINHOLE_KEYS)
    return Intrinsics(fx, fy, cx, cy, model, numbers, size_from(path, entries))


def _number(path: Path, value: object, which: int | str) -> float:
    """The value as a finite number; `which` is its position (from 1) or key."""
    name = f"number {which}" if isinstance(which, int) else which
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise CalibrationError(f"{path}: {name} is {value!r}, not a number; correct the file") from None
    if not math.isfinite(number):
        raise CalibrationError(f"{path}: {name} is {value!r}, not finite; correct the file")
    return number
