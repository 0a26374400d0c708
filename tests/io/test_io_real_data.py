"""Readers on recordings that are not part of the project; EVSLAM_DATA names the folder with real/ and sim/."""

import os
from pathlib import Path

import numpy as np
import pytest

from evslam.io.recording import open_recording
from evslam.types import Events, SensorSize


@pytest.fixture
def data() -> Path:
    if "EVSLAM_DATA" not in os.environ:
        pytest.skip("EVSLAM_DATA is not set: no recordings to read")
    return Path(os.environ["EVSLAM_DATA"])


def test_real_excerpt_with_everything(data: Path) -> None:
    recording = open_recording(data / "real" / "shapes_rotation_30k")
    events = Events.concatenate(list(recording.reader.read()))
    assert (len(events), events.t[0], events.t[-1]) == (30_000, 43_499_029, 43_605_033)
    assert recording.size == SensorSize(height=180, width=240)
    assert recording.require_camera().fx == 199.092366542
    assert recording.groundtruth is not None
    assert len(recording.groundtruth) == 11_883
    assert recording.imu is not None
    assert recording.imu.t_us[0] == 15_972
    assert recording.imu.acceleration[0].tolist() == [0.426313476563, -9.93454101563, -0.13412109375]


def test_size_of_the_slider_comes_from_its_name_or_its_images(data: Path, tmp_path: Path) -> None:
    source = data / "real" / "slider_depth_50k"
    recording = open_recording(source)
    assert (recording.size, recording.size_source) == (SensorSize(180, 240), "sensor of Event Camera Dataset")
    for entry in source.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    recording = open_recording(tmp_path)
    assert (recording.size, recording.size_source) == (SensorSize(180, 240), "size of images/frame_00000000.png")


def test_text_and_hdf5_of_a_simulation_are_equal(data: Path) -> None:
    folder = data / "sim" / "slider_depth"
    from_text = Events.concatenate(list(open_recording(folder / "events_head.txt").reader.read()))
    reader = open_recording(folder).reader
    from_hdf5 = Events.concatenate(list(reader.read(None, int(from_text.t[-1]) + 1)))[: len(from_text)]
    assert len(from_text) == 200_000
    for name in "txyp":
        np.testing.assert_array_equal(getattr(from_text, name), getattr(from_hdf5, name))
