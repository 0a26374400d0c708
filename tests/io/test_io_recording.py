"""Opening recordings by content, the sensor's size, writing and converting."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from evslam.errors import CalibrationError, DataError
from evslam.geometry.camera import Camera
from evslam.io.convert import convert_recording, copy_events
from evslam.io.depth import load_depth
from evslam.io.hdf5_layouts import Columns
from evslam.io.recording import open_recording, write_recording
from evslam.io.text import write_events_text
from evslam.types import Events, Imu, SensorSize, Trajectory

SIZE = SensorSize(height=180, width=240)
CALIB = "199.09 198.82 132.19 110.71 -0.36 0.15 0 0 0"


def events_up_to(x: int = 230, y: int = 170, num_events: int = 500) -> Events:
    rng = np.random.default_rng(7)
    t = np.sort(rng.integers(0, 1_000_000, num_events))
    columns, rows = (rng.integers(0, limit + 1, num_events).astype(np.uint16) for limit in (x, y))
    events = Events(t, columns, rows, rng.integers(0, 2, num_events) > 0)
    events.x[0], events.y[0] = x, y
    return events


def text_folder(tmp_path: Path, events: Events | None = None, **files: str) -> Path:
    """An Event Camera Dataset folder; files are given as calib="content of calib.txt"."""
    folder = tmp_path / "recording"
    folder.mkdir()
    write_events_text(folder / "events.txt", [events or events_up_to()])
    for name, content in files.items():
        (folder / (f"{name}.yaml" if name == "meta" else f"{name}.txt")).write_text(content)
    return folder


def png(folder: Path, width: int, height: int) -> None:
    (folder / "images").mkdir()
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    (folder / "images" / "frame_0.png").write_bytes(header)


def read(path: Path) -> Events:
    return Events.concatenate(list(open_recording(path).reader.read()))


def assert_equal(events: Events, expected: Events) -> None:
    for name in "txyp":
        assert getattr(events, name).tolist() == getattr(expected, name).tolist()


def test_text_folder_with_everything(tmp_path: Path) -> None:
    folder = text_folder(
        tmp_path,
        calib=CALIB,
        groundtruth="0 1 2 3 0 0 0 1\n1 1 2 3 0 0 0 1\n",
        imu="0 1 2 3 4 5 6\n1 1 2 3 4 5 6\n",
    )
    recording = open_recording(folder)
    assert recording.format == "Event Camera Dataset text"
    assert recording.size == SIZE
    assert recording.camera == Camera(199.09, 198.82, 132.19, 110.71, SIZE, "radtan", (-0.36, 0.15, 0, 0, 0))
    assert recording.require_camera() is recording.camera
    assert recording.groundtruth is not None
    assert recording.groundtruth.t_us.tolist() == [0, 1_000_000]
    assert recording.imu is not None
    assert recording.imu.gyro[0].tolist() == [4, 5, 6]
    assert_equal(read(folder), events_up_to())


def test_single_file_uses_what_lies_beside_it(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, calib=CALIB)
    recording = open_recording(folder / "events.txt")
    assert recording.camera is not None
    assert (recording.groundtruth, recording.imu) == (None, None)


def test_format_is_recognised_by_content_not_name(tmp_path: Path) -> None:
    write_recording(tmp_path / "a", iter([events_up_to()]), meta={"width": 240, "height": 180})
    (tmp_path / "a" / "events.h5").rename(tmp_path / "a" / "events.txt")
    assert open_recording(tmp_path / "a").format == "evslam HDF5"
    assert open_recording(tmp_path / "a" / "events.txt").format == "evslam HDF5"


def test_hdf5_is_preferred(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    copy_events(open_recording(folder).reader, folder / "events.h5")
    assert open_recording(folder).format == "evslam HDF5"


def test_missing_or_unknown_recordings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder; check the path"):
        open_recording(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        open_recording(tmp_path)
    assert f"{tmp_path}: no recording here; looked for events.h5 or " in str(caught.value)
    (tmp_path / "noise.raw").write_bytes(b"\0\1\2\3")
    with pytest.raises(DataError, match=r"there is: noise.raw; give its folder"):
        open_recording(tmp_path)
    with pytest.raises(
        DataError, match=r"noise.raw: not a recording of a known format \(evslam HDF5, DSEC or TUM-VIE HDF5,"
    ):
        open_recording(tmp_path / "noise.raw")


def test_bad_companions_matter_only_when_used(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, calib="1 2 3", groundtruth="oops", imu="oops")
    recording = open_recording(folder, size=SIZE)
    assert len(list(recording.reader.read())) == 1
    with pytest.raises(DataError, match=r"groundtruth.txt: holds no poses"):
        _ = recording.groundtruth
    with pytest.raises(DataError, match=r"imu.txt, line 1: 1 columns"):
        _ = recording.imu
    with pytest.raises(CalibrationError, match=r"calib.txt: 3 numbers where 9"):
        _ = recording.camera


def test_missing_calibration(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    recording = open_recording(folder)
    assert recording.camera is None
    with pytest.raises(CalibrationError) as caught:
        recording.require_camera()
    assert str(caught.value) == (
        f"{folder}: no calibration; looked for calib.yaml, calib.txt, calib.yml, calib.xml, calib.json, "
        f"calibration.yaml, calibration.json, camera_info.yaml, *camchain*.yaml, cam_to_cam.yaml in {folder}; "
        f"give one with --calib FILE, or --fov DEG for a first look"
    )


def test_field_of_view_stands_in_for_a_missing_calibration(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    recording = open_recording(folder, fov_deg=90)
    camera = recording.require_camera()
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((120, 120, 119.5, 89.5))
    assert camera.model == "none"
    assert recording.camera_source == "assumed: pinhole with a field of view of 90 degrees"
    (folder / "calib.txt").write_text("100 101 120 90")
    assert open_recording(folder, fov_deg=90).camera == Camera(100, 101, 120, 90, SIZE)


def test_camera_of_a_given_calibration(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    camera = "{camera_model: pinhole, intrinsics: [%d, 200, 120, 90], resolution: [240, 180]}"
    (tmp_path / "rig.yaml").write_text(f"cam0: {camera % 198}\ncam1: {camera % 199}\n")
    assert open_recording(folder, calib=tmp_path / "rig.yaml#cam1").require_camera().fx == 199


def test_given_calibration_wins(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, calib="1 2 3")
    (tmp_path / "mine.txt").write_text("100 101 120 90")
    assert open_recording(folder, calib=tmp_path / "mine.txt").camera == Camera(100, 101, 120, 90, SIZE)
    with pytest.raises(CalibrationError, match=r"none.txt: no such calibration file; check --calib FILE"):
        open_recording(folder, calib=tmp_path / "none.txt")


def test_size_given_wins_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = text_folder(tmp_path, meta="width: 240\nheight: 180\n")
    with caplog.at_level(logging.WARNING):
        assert open_recording(folder, size=SIZE).size_source == "given by the user"
        assert caplog.text == ""
        recording = open_recording(folder, size=SensorSize(height=260, width=346))
    assert recording.size == SensorSize(height=260, width=346)
    assert "says 240x180 pixels, the given 346x260 are used" in caplog.text


def test_size_from_meta_before_images(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, meta="name: x\nwidth: 300\nheight: 200\n")
    png(folder, 346, 260)
    recording = open_recording(folder)
    assert (recording.size, recording.size_source) == (SensorSize(200, 300), "width and height in meta.yaml")
    (folder / "meta.yaml").write_text("name: x\n")
    recording = open_recording(folder)
    assert (recording.size, recording.size_source) == (SensorSize(260, 346), "size of images/frame_0.png")
    (folder / "images" / "frame_0.png").write_bytes(b"JFIF")
    with pytest.raises(
        DataError, match=r"frame_0.png: not a PNG image; remove it, or give the resolution: --set sensor"
    ):
        open_recording(folder)


def test_size_from_yaml_calibration(tmp_path: Path) -> None:
    folder = text_folder(tmp_path)
    (folder / "calib.yaml").write_text("{fx: 200, fy: 200, cx: 160, cy: 128, width: 321, height: 257}")
    recording = open_recording(folder)
    assert (recording.size, recording.size_source) == (SensorSize(257, 321), "width and height in calib.yaml")


@pytest.mark.parametrize(
    ("largest", "calib", "expected"),
    [
        ((100, 90), None, (128, 128)),
        ((127, 128), None, (240, 180)),
        ((239, 179), None, (240, 180)),
        ((239, 180), None, (304, 240)),
        ((305, 100), None, (320, 240)),
        ((345, 259), None, (346, 260)),
        ((346, 100), None, (640, 480)),
        ((640, 10), None, (1280, 720)),
        ((100, 90), "199 199 132 110", (240, 180)),
        ((230, 170), "300 300 320 240", (640, 480)),
        ((230, 170), "300 300 640 360", (1280, 720)),
    ],
)
def test_size_guessed(tmp_path: Path, largest: tuple[int, int], calib: str | None, expected: tuple[int, int]) -> None:
    folder = text_folder(tmp_path, events_up_to(*largest), **({"calib": calib} if calib else {}))
    recording = open_recording(folder)
    assert (recording.size.width, recording.size.height) == expected
    assert f"guessed: smallest known sensor for the pixels up to {largest}" in recording.size_source


@pytest.mark.parametrize(
    ("largest", "calib", "fact"),
    [((1300, 20), None, "(1300, 20);"), ((50, 50), "9 9 2000 90", "(50, 50) and the principal point (2000, 90)")],
)
def test_size_unknown(tmp_path: Path, largest: tuple[int, int], calib: str | None, fact: str) -> None:
    folder = text_folder(tmp_path, events_up_to(*largest), **({"calib": calib} if calib else {}))
    with pytest.raises(DataError) as caught:
        open_recording(folder)
    assert f"{folder / 'events.txt'}: no known sensor fits the pixels up to {fact}" in str(caught.value)
    assert "--set sensor.width=... --set sensor.height=..." in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "fact"),
    [("width: big\nheight: 3\n", "width 'big' and height 3 must be"), ("a: [", "not valid YAML"), ("- 1", "no keys")],
)
def test_bad_meta(tmp_path: Path, meta: str, fact: str) -> None:
    with pytest.raises(DataError, match=rf"meta.yaml: .*{fact}.*; correct"):
        open_recording(text_folder(tmp_path, meta=meta))


def written(folder: Path, model: str = "radtan") -> tuple[Events, Camera, Trajectory, Imu, np.ndarray]:
    events, rng = events_up_to(), np.random.default_rng(9)
    distortion = (-0.36, 0.15, 0, 0, 0) if model == "radtan" else (0.1, 0.01, 0.0, 0.0)
    camera = Camera(199.09, 198.82, 132.19, 110.71, SIZE, model, distortion)  # type: ignore[arg-type]
    trajectory = Trajectory(np.array([0, 5_000]), np.array([[1, 2, 3, 0, 0, 0, 1], [1, 2, 4, 0, 0.6, 0, 0.8]]))
    imu = Imu(np.array([0, 1_000]), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    maps = np.array([[[1.5, np.inf]], [[2.25, 0.5]]])
    num_events = write_recording(
        folder,
        iter([events[:200], events[200:]]),
        camera=camera,
        trajectory=trajectory,
        imu=imu,
        depth=(np.array([0, 500_000]), maps),
        meta={"name": "desk", "rate": np.float64(0.5)},
    )
    assert num_events == len(events)
    return events, camera, trajectory, imu, maps


@pytest.mark.parametrize("model", ["radtan", "equidistant"])
def test_written_recording_comes_back(tmp_path: Path, model: str) -> None:
    events, camera, trajectory, imu, maps = written(tmp_path / "new" / "rec", model)
    recording = open_recording(tmp_path / "new" / "rec")
    assert_equal(Events.concatenate(list(recording.reader.read())), events)
    assert (recording.size, recording.size_source) == (SIZE, "width and height in meta.yaml")
    assert recording.camera == camera
    assert recording.groundtruth is not None
    np.testing.assert_allclose(recording.groundtruth.poses, trajectory.poses, atol=1e-12)
    assert recording.imu is not None
    np.testing.assert_allclose(recording.imu.gyro, imu.gyro, rtol=1e-11)
    t_us, depth = load_depth(tmp_path / "new" / "rec" / "depth.npz")
    assert t_us.tolist() == [0, 500_000]
    np.testing.assert_array_equal(depth, maps)
    meta = yaml.safe_load((tmp_path / "new" / "rec" / "meta.yaml").read_text())
    assert meta == {"name": "desk", "rate": 0.5, "width": 240, "height": 180}


def test_writing_over_a_recording_is_refused(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, calib=CALIB)
    with pytest.raises(DataError, match=r"recording: holds calib.txt already; choose another folder or remove them"):
        write_recording(folder, iter([events_up_to()]))
    with pytest.raises(DataError, match="cannot be created"):
        write_recording(folder / "events.txt" / "sub", iter([events_up_to()]))


def test_unreadable_depth(tmp_path: Path) -> None:
    (tmp_path / "depth.npz").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(DataError, match=r"depth.npz: no arrays t and depth can be read"):
        load_depth(tmp_path / "depth.npz")


def test_convert_to_folder_and_file(tmp_path: Path) -> None:
    folder = text_folder(tmp_path, calib=CALIB, groundtruth="0 1 2 3 0 0 0 1\n1 1 2 3 0 0 0 1\n")
    recording = open_recording(folder)
    assert convert_recording(recording, tmp_path / "out") == 500
    converted = open_recording(tmp_path / "out")
    assert_equal(Events.concatenate(list(converted.reader.read())), events_up_to())
    assert (converted.format, converted.size, converted.camera) == ("evslam HDF5", SIZE, recording.camera)
    assert converted.groundtruth is not None
    assert len(converted.groundtruth) == 2
    assert convert_recording(recording, tmp_path / "out.h5") == 500
    assert_equal(read(tmp_path / "out.h5"), events_up_to())


def test_convert_checks_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_recording(text_folder(tmp_path)).reader
    read = Columns.read

    def read_wrong(self: Columns, names: str, start: int, stop: int) -> list[np.ndarray]:
        return [column | (name == "x") for name, column in zip(names, read(self, names, start, stop), strict=True)]

    monkeypatch.setattr(Columns, "read", read_wrong)
    with pytest.raises(DataError, match=r"out.h5: reading back gave 500 events unlike the 500 written; check the disk"):
        copy_events(reader, tmp_path / "out.h5")
