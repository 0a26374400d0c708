"""Calibration files as the tools and datasets of the field write them; what is refused, and how."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evslam.errors import CalibrationError
from evslam.geometry.camera import Camera
from evslam.io.calibration import camera_from_fov, load_calibration, read_intrinsics
from evslam.types import SensorSize

DAVIS346 = SensorSize(height=260, width=346)
VGA = SensorSize(height=480, width=640)
HD = SensorSize(height=720, width=1280)

# The numbers of https://github.com/arclab-hku/Event_based_VO-VIO-SLAM, ESVIO/stereo_calibra2-camchain.yaml, rounded.
KALIBR = """\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.3795, 0.1539, 0.00114, -1.9e-3]
  distortion_model: radtan
  intrinsics: [249.69, 248.42, 176.74, 129.48]
  resolution: [346, 260]
  rostopic: /left
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.06]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [-0.05, 0.01, 0.002, -0.0001]
  distortion_model: equidistant
  intrinsics: [258.61, 258.0, 178.44, 135.85]
  resolution: [346, 260]
"""
LEFT = Camera(249.69, 248.42, 176.74, 129.48, DAVIS346, "radtan", (-0.3795, 0.1539, 0.00114, -0.0019, 0.0))
RIGHT = Camera(258.61, 258.0, 178.44, 135.85, DAVIS346, "equidistant", (-0.05, 0.01, 0.002, -0.0001))

# The form of https://github.com/tub-rip/ECRot, calib/real_data/DXA-handheld.yaml.
CAMERA_INFO = """\
image_width: 640
image_height: 480
camera_name: DXA
camera_matrix:
  rows: 3
  cols: 3
  data: [588.1, 0, 339.8, 0, 594.0, 242.4, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.38, 0.18, -0.007, 0.0016, 0.0]
projection_matrix:
  rows: 3
  cols: 4
  data: [588.1, 0, 339.8, 0, 0, 594.0, 242.4, 0, 0, 0, 1, 0]
"""
ROSTOPIC_ECHO = """\
header: {seq: 1}
height: 480
width: 640
distortion_model: "plumb_bob"
D: [-0.38, 0.18, -0.007, 0.0016, 0.0]
K: [588.1, 0.0, 339.8, 0.0, 594.0, 242.4, 0.0, 0.0, 1.0]
"""
OPENCV_YAML = """\
%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.881e+02, 0., 3.398e+02, 0.,
       5.94e+02, 2.424e+02, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.38, 0.18, -0.007, 0.0016, 0. ]
"""
OPENCV_XML = """\
<?xml version="1.0"?>
<opencv_storage>
<image_Width>640</image_Width>
<image_Height>480</image_Height>
<Camera_Matrix type_id="opencv-matrix">
  <rows>3</rows><cols>3</cols><dt>d</dt>
  <data>588.1 0. 339.8 0. 594. 242.4 0. 0. 1.</data></Camera_Matrix>
<Distortion_Coefficients type_id="opencv-matrix">
  <rows>5</rows><cols>1</cols><dt>d</dt>
  <data>-0.38 0.18 -0.007 0.0016 0.</data></Distortion_Coefficients>
</opencv_storage>
"""
DXA = Camera(588.1, 594.0, 339.8, 242.4, VGA, "radtan", (-0.38, 0.18, -0.007, 0.0016, 0.0))

# The form of https://github.com/uzh-rpg/DSEC, "Camera Calibration File".
DSEC = """\
intrinsics:
  cam0:
    camera_matrix: [555.6, 555.4, 341.3, 222.9]
    camera_model: pinhole
    distortion_coeffs: [-0.09, 0.15, 0.0001, -0.0005]
    distortion_model: radtan
    resolution: [640, 480]
  camRect0:
    camera_matrix: [583.3, 583.3, 336.8, 220.9]
    camera_model: pinhole
    resolution: [640, 480]
  cam1:
    camera_matrix: [1150.8, 1152.0, 723.5, 572.1]
    camera_model: pinhole
    distortion_coeffs: [-0.07, 0.12, 0.0008, 0.0002]
    distortion_model: radtan
    resolution: [1440, 1080]
extrinsics:
  T_10: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
"""


def basalt() -> dict[str, Any]:
    """The form of TUM-VIE's camera-calibrationA.json, as github.com/tum-vision/DEVO scripts/pp_tumvie.py reads it."""
    frames = {"fx": 747.3, "fy": 747.2, "cx": 490.9, "cy": 505.2, "k1": 0.02, "k2": 0.0, "k3": 0.0, "k4": 0.0}
    events = {"fx": 1049.6, "fy": 1049.4, "cx": 634.7, "cy": 263.5, "k1": -0.01, "k2": -0.006, "k3": 0.002, "k4": 1e-4}
    cameras = [{"camera_type": "kb4", "intrinsics": values} for values in (frames, frames, events, events)]
    return {"value0": {"intrinsics": cameras, "resolution": [[1024, 1024], [1024, 1024], [1280, 720], [1280, 720]]}}


def write(tmp_path: Path, content: str, name: str = "calib") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


@pytest.mark.parametrize("content", [CAMERA_INFO, ROSTOPIC_ECHO, OPENCV_YAML, OPENCV_XML])
def test_ros_and_opencv(tmp_path: Path, content: str) -> None:
    assert load_calibration(write(tmp_path, content), VGA) == DXA


def test_camera_info_in_small_letters_without_distortion(tmp_path: Path) -> None:
    content = "height: 480\nwidth: 640\ndistortion_model: ''\nd: []\nk: [500, 0, 320, 0, 501, 240, 0, 0, 1]\n"
    assert load_calibration(write(tmp_path, content), VGA) == Camera(500, 501, 320, 240, VGA)


def test_opencv_fisheye_flag(tmp_path: Path) -> None:
    content = OPENCV_XML.replace("0.0016 0.</data>", "0.0016</data>").replace(
        "<opencv_storage>", "<opencv_storage><fisheye_model>1</fisheye_model>"
    )
    loaded = load_calibration(write(tmp_path, content), VGA)
    assert (loaded.model, loaded.distortion) == ("equidistant", (-0.38, 0.18, -0.007, 0.0016))


def test_kalibr_takes_the_first_camera_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, KALIBR)
    with caplog.at_level(logging.WARNING):
        assert load_calibration(path, DAVIS346) == LEFT
    assert "cam0 of cameras cam0, cam1 is used; --calib FILE#NAME takes another" in caplog.text
    assert load_calibration(path, DAVIS346, "cam1") == RIGHT
    with pytest.raises(CalibrationError, match=r"calib: no camera 'cam7'; there are cam0, cam1; name one of them"):
        load_calibration(path, DAVIS346, "cam7")


def test_dsec_takes_the_distorted_event_camera(tmp_path: Path) -> None:
    expected = Camera(555.6, 555.4, 341.3, 222.9, VGA, "radtan", (-0.09, 0.15, 0.0001, -0.0005, 0.0))
    assert load_calibration(write(tmp_path, DSEC), VGA, "cam0") == expected
    rectified = Camera(583.3, 583.3, 336.8, 220.9, VGA)
    assert load_calibration(write(tmp_path, DSEC), VGA, "camRect0") == rectified


def test_tumvie_chooses_the_event_camera_by_resolution(tmp_path: Path) -> None:
    expected = Camera(1049.6, 1049.4, 634.7, 263.5, HD, "equidistant", (-0.01, -0.006, 0.002, 1e-4))
    assert load_calibration(write(tmp_path, json.dumps(basalt())), HD) == expected


def test_m3ed_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "car_data.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("prophesee/left/calib")
        group["intrinsics"] = np.array([1034.4, 1033.7, 629.7, 357.6])
        group["distortion_coeffs"] = np.array([-0.1, 0.14, 1e-4, -2e-4])
        group["distortion_model"], group["camera_model"] = "radtan", "pinhole"
        group["resolution"] = np.array([1280, 720])
        group["T_to_prophesee_left"] = np.eye(4)
    expected = Camera(1034.4, 1033.7, 629.7, 357.6, HD, "radtan", (-0.1, 0.14, 1e-4, -2e-4, 0.0))
    assert load_calibration(path, HD) == expected
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["t"] = np.arange(3)
    with pytest.raises(CalibrationError, match=r"other.h5: no group prophesee/left/calib .*; give a calibration file"):
        load_calibration(tmp_path / "other.h5", HD)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (
            KALIBR.replace("camera_model: pinhole", "camera_model: omni"),
            "camera model 'omni'; only pinhole with radtan",
        ),
        (KALIBR.replace("radtan", "fov"), "distortion model 'fov' is not supported; calibrate with none, radtan"),
        (KALIBR.replace("248.42, ", ""), "camera matrix with 3 numbers, 9 or 4 are expected"),
        (KALIBR.replace("176.74", "wide"), "cx is 'wide', not a number"),
        (KALIBR.replace("[346, 260]", "[346]"), "width [346] and height None must be whole numbers"),
        (CAMERA_INFO.replace("0.0016, 0.0]", "0.0016, 0.0, 0.5]"), "radtan with k4 or further coefficients [0.5]"),
        (CAMERA_INFO.replace("339.8, 0, 594.0", "339.8, 594.0"), "camera matrix with 8 numbers, 9 or 4 are expected"),
        (CAMERA_INFO.replace("data: [588.1", "date: [588.1"), "without 'data'; correct the file"),
        ("rig: {left: 3}\n", "no known calibration form (keys: rig); known are evslam YAML, TUM-VIE"),
        ("<opencv_storage><K>", "not valid XML"),
        ("<svg/>", "XML with root <svg>, OpenCV's <opencv_storage> is expected"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><opencv_storage/>", "XML with a document type is not read"),
        ("[" * 5000 + ": ", "nested too deeply"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        (json.dumps({"value0": {"intrinsics": [{"camera_type": "ds", "intrinsics": {}}]}}), "without 'k1'"),
        ("x" * (1 << 21), "2097152 bytes, a calibration has at most 1048576"),
    ],
)
def test_refused_forms(tmp_path: Path, content: str, fact: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CalibrationError) as caught:
        load_calibration(path, DAVIS346)
    assert str(caught.value).startswith(f"{path}: ")
    assert fact in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 5), st.integers(0, 10_000), st.binary(min_size=0, max_size=6))
def test_mutated_files_never_crash(tmp_path: Path, which: int, position: int, replacement: bytes) -> None:
    content = [KALIBR, CAMERA_INFO, OPENCV_YAML, OPENCV_XML, DSEC, json.dumps(basalt())][which].encode()
    position %= len(content)
    path = tmp_path / "calib"
    path.write_bytes(content[:position] + replacement + content[position + len(replacement) :])
    with contextlib.suppress(CalibrationError):
        read_intrinsics(path)


def test_field_of_view() -> None:
    camera = camera_from_fov(90, SensorSize(height=180, width=240))
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.model) == (
        pytest.approx(120),
        pytest.approx(120),
        119.5,
        89.5,
        "none",
    )
    with pytest.raises(CalibrationError, match="field of view 190 degrees; give --fov between 1 and 170"):
        camera_from_fov(190, VGA)
