"""Calibration files: values, forms, refused content."""

from pathlib import Path

import pytest

from evslam.errors import CalibrationError
from evslam.geometry.camera import Camera
from evslam.io.calibration import load_calibration, save_calibration
from evslam.types import SensorSize

SIZE = SensorSize(height=180, width=240)
PINHOLE = "199.09 198.82 132.19 110.71"


def make(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "calib"
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("content", "model", "distortion"),
    [
        (PINHOLE, "none", ()),
        (f"{PINHOLE} -0.36 0.15 -0.0003 -0.0007", "radtan", (-0.36, 0.15, -0.0003, -0.0007, 0.0)),
        (f"# fx fy\n{PINHOLE}\n-0.36 0.15 -3e-4 -7e-4 0.01\n", "radtan", (-0.36, 0.15, -0.0003, -0.0007, 0.01)),
    ],
)
def test_text_form(tmp_path: Path, content: str, model: str, distortion: tuple[float, ...]) -> None:
    expected = Camera(199.09, 198.82, 132.19, 110.71, SIZE, model, distortion)  # type: ignore[arg-type]
    assert load_calibration(make(tmp_path, content), SIZE) == expected


def test_yaml_form(tmp_path: Path) -> None:
    path = make(tmp_path, "model: radtan  # lens\nfx: 1e2\nfy: 101\ncx: 90\ncy: 91\ndistortion: [1.0e-1, 0, 0, 0.02]\n")
    assert load_calibration(path, SIZE) == Camera(100, 101, 90, 91, SIZE, "radtan", (0.1, 0, 0, 0.02, 0))
    assert load_calibration(make(tmp_path, "{fx: 9, fy: 9, cx: 9, cy: 9}"), SIZE) == Camera(9, 9, 9, 9, SIZE)


@pytest.mark.parametrize(
    ("model", "distortion", "name"),
    [
        ("none", (), "calib.txt"),
        ("radtan", (-1 / 3, 0.15, 1e-9, -7e-4, 0.01), "calib.txt"),
        ("radtan", (-1 / 3, 0.15, 1e-9, -7e-4, 0.01), "calib.yaml"),
        ("equidistant", (-0.05, 0.01, 0.001, 1 / 7), "calib.yaml"),
    ],
)
def test_round_trip(tmp_path: Path, model: str, distortion: tuple[float, ...], name: str) -> None:
    camera = Camera(100 / 3, 101.5, 90, 91, SIZE, model, distortion)  # type: ignore[arg-type]
    save_calibration(camera, tmp_path / name)
    assert load_calibration(tmp_path / name, SIZE) == camera


def test_text_form_cannot_hold_a_fisheye(tmp_path: Path) -> None:
    camera = Camera(100, 100, 90, 91, SIZE, "equidistant", (0.1, 0, 0, 0))
    with pytest.raises(
        CalibrationError, match=r"calib.txt: the text form cannot hold model equidistant; write a .yaml"
    ):
        save_calibration(camera, tmp_path / "calib.txt")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("1 2 3 4 5", "5 numbers where 9 are expected (fx fy cx cy k1 k2 p1 p2 k3)"),
        ("", "0 numbers where 9 are expected"),
        ("199 199 oops 90", "number 3 is 'oops', not a number; correct"),
        ("199 nan 120 90", "number 2 is 'nan', not finite; correct"),
        ("199 -199 120 90", "fy = -199.0"),
        ("199 199 245 90", "principal point cx = 245.0 is outside the image"),
        ("fx: 199\nfy: 199\ncx: 120", "missing keys cy; expected are fx, fy, cx, cy, model"),
        ("fx: 1\nfy: 1\ncx: 1\ncy: 1\nk1: 0", "unknown keys k1; expected are"),
        ("fx: a\nfy: 1\ncx: 1\ncy: 1", "fx is 'a', not a number"),
        ("fx: .nan\nfy: 1\ncx: 1\ncy: 1", "fx is nan, not finite"),
        ("fx: 9\nfy: 9\ncx: 9\ncy: 9\nmodel: fisheye9", "fisheye9"),
        ("fx: 9\nfy: 9\ncx: 9\ncy: 9\nmodel: equidistant\ndistortion: [1, 2]", "equidistant"),
        ("fx: 9\nfy: 9\ncx: 9\ncy: 9\nmodel: radtan\ndistortion: 0.5", "distortion is 0.5 where a list is expected"),
        ("fx: 9\nfy: 9\ncx: 9\ncy: 9\nwidth: 346\nheight: 260", "made for 346x260 pixels, the sensor has 240x180"),
        ("fx: 9\nfy: 9\ncx: 9\ncy: 9\nwidth: 346", "width 346 and height None must be whole numbers"),
        ("fx: [", "not valid YAML"),
        ("- a: b", "keys fx, fy, cx, cy, model, distortion, width, height are expected"),
    ],
)
def test_refused_content(tmp_path: Path, content: str, fact: str) -> None:
    path = make(tmp_path, content)
    with pytest.raises(CalibrationError) as caught:
        load_calibration(path, SIZE)
    assert str(caught.value).startswith(f"{path}: ")
    assert fact in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="calib: no such file; check the path"):
        load_calibration(tmp_path / "calib", SIZE)
    (tmp_path / "calib").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CalibrationError, match="calib: not a text file"):
        load_calibration(tmp_path / "calib", SIZE)
