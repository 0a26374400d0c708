"""Camera calibration files of every known form; writing evslam's own."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evslam.errors import CalibrationError
from evslam.geometry.camera import Camera
from evslam.io.calibration_forms import FORMS, KEYS, MODELS, PINHOLE_KEYS, RawCamera
from evslam.io.calibration_tree import read_tree
from evslam.types import SensorSize

TEXT_LAYOUT = "fx fy cx cy k1 k2 p1 p2 k3"
FOV_RANGE = (1.0, 170.0)  # degrees, of a camera without distortion
_log = logging.getLogger(__name__)


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


def load_calibration(path: Path, size: SensorSize, camera: str | None = None) -> Camera:
    """Reads a calibration for a sensor.

    Args:
        path: Event Camera Dataset text (4, 8 or 9 numbers: fx fy cx cy, then k1 k2 p1 p2 k3; k3 may be left out), a
            Kalibr camchain, OpenCV's XML or YAML, ROS's camera_info, DSEC's cam_to_cam.yaml, TUM-VIE's JSON, M3ED's
            HDF5, or evslam's YAML with fx, fy, cx, cy, model, distortion and optionally width and height.
        size: the sensor's resolution.
        camera: which camera of a file that holds several; None takes the first whose resolution is the sensor's.

    Returns:
        The camera.

    Raises:
        CalibrationError: the file is missing or malformed, or does not fit the sensor.
    """
    return to_camera(path, read_intrinsics(path, camera, size), size)


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


def camera_from_fov(fov_deg: float, size: SensorSize) -> Camera:
    """A camera without distortion, its axis in the middle, for a first look at an uncalibrated recording.

    Args:
        fov_deg: horizontal field of view from the outer edge of the left column to that of the right one.
        size: the sensor's resolution.

    Raises:
        CalibrationError: no such field of view is possible.
    """
    low, high = FOV_RANGE
    if not low <= fov_deg <= high:
        raise CalibrationError(f"field of view {fov_deg:g} degrees; give --fov between {low:g} and {high:g}")
    focal = size.width / 2 / math.tan(math.radians(fov_deg) / 2)
    return Camera(focal, focal, (size.width - 1) / 2, (size.height - 1) / 2, size)


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


def read_intrinsics(path: Path, camera: str | None = None, size: SensorSize | None = None) -> Intrinsics:
    """Reads a calibration file alone; the form is recognised by its content.

    Args:
        path: see `load_calibration`.
        camera: which camera of a file that holds several.
        size: the sensor's resolution, which chooses among several cameras where `camera` does not.

    Raises:
        CalibrationError: the file is missing or malformed.
    """
    tree = read_tree(path)
    if isinstance(tree, str):
        return _from_text(path, tree)
    if not isinstance(tree, Mapping):
        raise CalibrationError(f"{path}: keys {', '.join(KEYS)} are expected; correct the file")
    form = next((form for form in FORMS if form.recognises(tree)), None)
    if form is None:
        there = ", ".join(str(key) for key in list(tree)[:6]) or "none"
        known = ", ".join(form.name for form in FORMS)
        raise CalibrationError(f"{path}: no known calibration form (keys: {there}); known are {known}; give another")
    try:
        cameras = form.cameras(tree)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: {error}; give a calibration that evslam supports or correct it") from None
    except (LookupError, AttributeError) as error:
        raise CalibrationError(f"{path}: {form.name} without {error}; correct the file") from None
    return _checked(path, _chosen(path, cameras, camera, size))


def _chosen(path: Path, cameras: dict[str, RawCamera], name: str | None, size: SensorSize | None) -> RawCamera:
    """The camera asked for, or the first one of the sensor's resolution."""
    if name is not None:
        if name not in cameras:
            raise CalibrationError(f"{path}: no camera {name!r}; there are {', '.join(cameras)}; name one of them")
        return cameras[name]
    wanted = None if size is None else [size.width, size.height]
    fitting = [key for key, raw in cameras.items() if wanted is None or raw.resolution in (None, wanted)]
    names = fitting or list(cameras)
    if not names:
        raise CalibrationError(f"{path}: holds no camera; give another calibration file")
    if len(fitting) > 1 and size is not None:
        _log.warning("%s: %s of cameras %s is used; --calib FILE#NAME takes another", path, names[0], ", ".join(names))
    return cameras[names[0]]


def _checked(path: Path, raw: RawCamera) -> Intrinsics:
    if len(raw.projection) != 4:
        raise CalibrationError(
            f"{path}: {len(raw.projection)} numbers where fx fy cx cy are expected; correct the file"
        )
    fx, fy, cx, cy = (_number(path, value, key) for key, value in zip(PINHOLE_KEYS, raw.projection, strict=True))
    coefficients = [_number(path, value, f"distortion[{index}]") for index, value in enumerate(raw.coefficients)]
    word = raw.model if raw.model is not None else "radtan" if coefficients else "none"
    model = MODELS.get(str(word).lower())
    if model is None:
        raise CalibrationError(
            f"{path}: distortion model {word!r} is not supported; calibrate with none, radtan or equidistant"
        )
    return Intrinsics(fx, fy, cx, cy, model, _distortion(path, model, coefficients), _size(path, raw.resolution))


def _distortion(path: Path, model: str, coefficients: list[float]) -> tuple[float, ...]:
    """As many coefficients as the model takes: radtan's k3 may be missing, OpenCV's k4 and further must be zero."""
    if model == "none" and not any(coefficients):
        return ()
    if model == "radtan":
        if not coefficients:
            return (0.0,) * 5
        if any(coefficients[5:]):
            raise CalibrationError(
                f"{path}: radtan with k4 or further coefficients {coefficients[5:]} is not supported; calibrate with "
                f"k1 k2 p1 p2 k3 or equidistant"
            )
        return (*coefficients, 0.0) if len(coefficients) == 4 else tuple(coefficients[:5])
    return tuple(coefficients)


def _size(path: Path, resolution: list[Any] | None) -> SensorSize | None:
    if resolution is None:
        return None
    try:
        width, height = (int(str(value)) for value in resolution)
    except (TypeError, ValueError):
        width = height = 0
    if width < 1 or height < 1:
        shown = resolution if isinstance(resolution, list) and len(resolution) == 2 else [resolution, None]
        raise CalibrationError(
            f"{path}: width {shown[0]!r} and height {shown[1]!r} must be whole numbers of pixels; correct them"
        )
    return SensorSize(height=height, width=width)


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
