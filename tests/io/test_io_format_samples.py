"""Recordings of real cameras; EVSLAM_DATA names the folder with formats/.

The checksums are those of other decoders for the same files: RAW EVT2 by faery 0.7.1 and expelliarmus 1.1.12, DAT by
expelliarmus, EVT3 by faery, which differs in t alone: it keeps 1455 times from stepping back by up to 11 us;
AEDAT 4 by dv-processing 2.0.4 and faery. ROS: test_events_1 (evt3) in two containers, its words by faery; test_events_2
is another recording (libcaer_cmp), whose checksums are our own.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader as Sqlite3Bag
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as StorageWriter

from evslam.eval.bench.ros_files import Messages
from evslam.io.recording import Recording, open_recording
from evslam.types import Events, SensorSize


@dataclass(frozen=True)
class Sample:
    """A recording and what it must give; `crc` is that of t, x, y, p."""

    path: str
    format: str
    size: SensorSize
    num_events: int
    span_us: tuple[int, int]
    crc: tuple[int, int, int, int]


SAMPLES = (
    Sample(
        "evt2_640x480.raw",
        "Prophesee RAW",
        SensorSize(480, 640),
        539_481,
        (1_317_888, 1_367_888),
        (1126662282, 2831967240, 2722300267, 576364100),
    ),
    Sample(
        "evt3_1280x720.raw",
        "Prophesee RAW",
        SensorSize(720, 1280),
        219_596,
        (11_718_656, 11_727_457),
        (1099475867, 1449545147, 420426428, 4126226393),
    ),
    Sample(
        "ncars.dat",
        "Prophesee DAT",
        SensorSize(128, 128),
        2_009,
        (0, 99_952),
        (814612299, 822505213, 443614164, 1415376387),
    ),
)


def sample_recording(path: str) -> Recording:
    if "EVSLAM_DATA" not in os.environ:
        pytest.skip("EVSLAM_DATA is not set: no recordings to read")
    return open_recording(Path(os.environ["EVSLAM_DATA"]) / "formats" / path)


def checksums(events: Events) -> tuple[int, ...]:
    return tuple(zlib.crc32(getattr(events, name).tobytes()) for name in "txyp")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path)
def test_real_recording(sample: Sample) -> None:
    recording = sample_recording(sample.path)
    reader = recording.reader
    events = Events.concatenate(list(reader.read()))
    assert (recording.format, recording.size, len(events)) == (sample.format, sample.size, sample.num_events)
    assert (reader.t_first_us, reader.t_last_us) == sample.span_us == (events.t[0], events.t[-1])
    assert checksums(events) == sample.crc
    assert reader.counts.problems() == []
    middle = sum(sample.span_us) // 2
    inside = (events.t >= middle) & (events.t < middle + 5_000)
    part = Events.concatenate(list(reader.read(middle, middle + 5_000)))
    assert checksums(part) == checksums(Events(*(getattr(events, name)[inside] for name in "txyp")))


def test_inside_of_an_aedat4_recording() -> None:
    """What dv-processing 2.0.4 gives, but for its 9.81 m/s^2 in a g."""
    recording = sample_recording("davis346.aedat4")
    imu = recording.imu
    assert imu is not None
    assert (len(imu.t_us), imu.t_us[0], imu.t_us[1]) == (130, 1_633_953_690_976_628, 1_633_953_690_977_628)
    np.testing.assert_allclose(imu.acceleration[0] / 9.80665, [-0.0604248, -0.99121094, -0.09741211], rtol=1e-6)
    np.testing.assert_allclose(imu.gyro[0], [0.11265171, 0.04500742, -0.00292948], rtol=1e-5)
    frames = list(recording.reader.frames())
    assert [frame.t_us for frame in frames] == [
        1_633_953_690_978_904, 1_633_953_691_018_904, 1_633_953_691_058_904
    ]  # fmt: skip
    assert frames[0].image.shape == (260, 346)
    assert frames[0].image[0, :3].tolist() == [101, 98, 106]


def test_third_container_gives_the_same_events(tmp_path: Path) -> None:
    """The messages of the sqlite3 bag in an mcap file that rosbags writes."""
    recording = sample_recording("ros_event_packet/test_events_1")
    (source,) = recording.path.glob("*.db3")
    with (
        Sqlite3Bag(source) as bag,
        StorageWriter(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        for connection, arrival_ns, raw in bag.messages():
            if not writer.connections:
                writer.add_connection(connection.topic, connection.msgtype, typestore=Messages(ros2=True).store)
            writer.write(writer.connections[0], arrival_ns, raw)
    found = Events.concatenate(list(open_recording(tmp_path / "bag").reader.read()))
    assert checksums(found) == checksums(Events.concatenate(list(recording.reader.read())))
