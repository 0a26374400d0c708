"""The forms of calibration files that name their values: who writes them, how they are told, what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PINHOLE_KEYS = ("fx", "fy", "cx", "cy")
KEYS = (*PINHOLE_KEYS, "model", "distortion", "width", "height")

# What the forms call the distortion models of `evslam.geometry.camera`.
MODELS = {
    "none": "none", "": "none",
    "radtan": "radtan", "plumb_bob": "radtan", "rational_polynomial": "radtan", "radial-tangential": "radtan",
    "opencv": "radtan", "pinhole-radtan8": "radtan",
    "equidistant": "equidistant", "equi": "equidistant", "fisheye": "equidistant", "kb4": "equidistant",
}  # fmt: skip
_MATRICES = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "K", "k", "M1")
_COEFFICIENTS = (
    "distortion_coefficients", "Distortion_Coefficients", "distortion_coefficents", "distCoeffs", "D", "d", "D1",
)  # fmt: skip
_WIDTHS, _HEIGHTS = ("image_width", "image_Width", "width"), ("image_height", "image_Height", "height")


@dataclass(frozen=True)
class RawCamera:
    """One camera of a file, values as they stand there.

    Attributes:
        projection: fx, fy, cx, cy.
        model: the distortion model as the file calls it; None where only the number of coefficients tells.
        coefficients: of the distortion.
        resolution: width and height, None where the file does not say.
    """

    projection: list[Any]
    model: str | None
    coefficients: list[Any]
    resolution: list[Any] | None


@dataclass(frozen=True)
class Form:
    """A form of calibration files.

    Attributes:
        name: as shown to the user.
        recognises: whether a file's content has this form.
        cameras: the cameras of such a file by name, in its order; may raise LookupError, TypeError or ValueError
            where the content is not what it seemed.
    """

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    cameras: Callable[[Mapping[str, Any]], dict[str, RawCamera]]


def numbers(value: Any) -> list[Any]:
    """A flat list of a vector or matrix, given as nested lists or as OpenCV's and ROS's {rows, cols, data}."""
    if isinstance(value, Mapping):
        value = value["data"]
    if isinstance(value, list | tuple):
        return [each for part in value for each in (numbers(part) if isinstance(part, list | tuple) else [part])]
    return [value]


def _first(tree: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((tree[key] for key in keys if tree.get(key) is not None), None)


def _projection(matrix: Any) -> list[Any]:
    """fx, fy, cx, cy of a camera matrix (3 x 3), or as they are."""
    values = numbers(matrix)
    if len(values) == 9:
        return [values[0], values[4], values[2], values[5]]
    if len(values) == 4:
        return values
    raise ValueError(f"camera matrix with {len(values)} numbers, 9 or 4 are expected")


def _by_matrix(tree: Mapping[str, Any]) -> dict[str, RawCamera]:
    """OpenCV's calibration sample and ROS's camera_info, from a file or from `rostopic echo`."""
    model = tree.get("distortion_model") or tree.get("model")
    if model is None and str(tree.get("fisheye_model", "0")) == "1":
        model = "fisheye"
    coefficients = _first(tree, _COEFFICIENTS)
    width, height = _first(tree, _WIDTHS), _first(tree, _HEIGHTS)
    resolution = None if width is None or height is None else [width, height]
    found = [] if coefficients is None else numbers(coefficients)
    return {"camera": RawCamera(_projection(_first(tree, _MATRICES)), model, found, resolution)}


def _kalibr(tree: Mapping[str, Any]) -> dict[str, RawCamera]:
    """Kalibr's camchain (and M3ED's, which says the same in HDF5): one entry per camera."""
    cameras = {str(name): camera for name, camera in tree.items() if _is_mapping_with("intrinsics")(camera)}
    return {name: _rig_camera(camera, camera["intrinsics"]) for name, camera in cameras.items()}


def _dsec(tree: Mapping[str, Any]) -> dict[str, RawCamera]:
    """DSEC's cam_to_cam.yaml (https://github.com/uzh-rpg/DSEC): cam0 is the left event camera."""
    return {str(name): _rig_camera(camera, camera["camera_matrix"]) for name, camera in tree["intrinsics"].items()}


def _rig_camera(camera: Mapping[str, Any], projection: Any) -> RawCamera:
    kind = str(camera.get("camera_model", "pinhole"))
    if kind != "pinhole":
        raise ValueError(f"camera model {kind!r}; only pinhole with radtan, equidistant or no distortion is supported")
    model, coefficients = str(camera.get("distortion_model", "none")), camera.get("distortion_coeffs") or []
    return RawCamera(_projection(projection), model, numbers(coefficients), camera.get("resolution"))


def _basalt(tree: Mapping[str, Any]) -> dict[str, RawCamera]:
    """Basalt's calibration.json, as TUM-VIE has it: cameras 2 and 3 are the event cameras."""
    value = tree["value0"]
    cameras = {}
    for index, camera in enumerate(value["intrinsics"]):
        entries, kind = camera["intrinsics"], str(camera["camera_type"])
        names = ("k1", "k2", "k3", "k4") if kind == "kb4" else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
        coefficients = [] if kind == "pinhole" else [entries[name] for name in names]
        resolution = value["resolution"][index] if index < len(value.get("resolution", [])) else None
        cameras[f"cam{index}"] = RawCamera(
            [entries[key] for key in PINHOLE_KEYS], "none" if kind == "pinhole" else kind, coefficients, resolution
        )
    return cameras


def _own(tree: Mapping[str, Any]) -> dict[str, RawCamera]:
    """evslam's own form, strictly: every key is known."""
    unknown, missing = [str(key) for key in tree if key not in KEYS], [key for key in PINHOLE_KEYS if key not in tree]
    for fact, keys in (("unknown", unknown[:5]), ("missing", missing)):
        if keys:
            raise ValueError(f"{fact} keys {', '.join(keys)}; expected are {', '.join(KEYS)}")
    distortion = tree.get("distortion") or []
    if not isinstance(distortion, list):
        raise TypeError(f"distortion is {distortion!r} where a list is expected, such as [0.1, 0.02]")
    width, height = tree.get("width"), tree.get("height")
    resolution = None if width is None and height is None else [width, height]
    model = str(tree.get("model", "none"))
    return {"camera": RawCamera([tree[key] for key in PINHOLE_KEYS], model, distortion, resolution)}


def _is_mapping_with(key: str) -> Callable[[Any], bool]:
    return lambda entry: isinstance(entry, Mapping) and key in entry


FORMS = (
    Form("evslam YAML", lambda tree: any(key in tree for key in PINHOLE_KEYS), _own),
    Form("TUM-VIE JSON (Basalt)", lambda tree: _is_mapping_with("intrinsics")(tree.get("value0")), _basalt),
    Form("DSEC cam_to_cam.yaml", lambda tree: isinstance(tree.get("intrinsics"), Mapping), _dsec),
    Form("OpenCV or ROS camera_info", lambda tree: any(key in tree for key in _MATRICES), _by_matrix),
    Form("Kalibr camchain", lambda tree: any(map(_is_mapping_with("intrinsics"), tree.values())), _kalibr),
)
