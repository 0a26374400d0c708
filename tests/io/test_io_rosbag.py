"""ROS bags: topics inside, encodings of event packets, cut-off and damaged bags."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.errors import DataError
from evslam.eval.bench.format_files import evt3_words, random_events, write_packets
from evslam.eval.bench.ros_files import Messages, write_bag, write_event_arrays
from evslam.geometry.camera import Camera
from evslam.io import event_packet
from evslam.io.reader import Frame
from evslam.io.recording import open_recording
from evslam.io.ros_messages import EventPacket
from evslam.io.rosbag import RosbagReader
from evslam.types import Events, Imu, SensorSize, Trajectory

each_container = pytest.mark.parametrize("suffix", [".bag", ".db3", ".mcap"])
POSES = np.array([[1.0, 2, 3, 0, 0, 0, 1], [1.5, 2, 3, 0, 0.6, 0, 0.8]])


def whole(reader: RosbagReader) -> Events:
    return Events.concatenate(list(reader.read()))


@each_container
@pytest.mark.parametrize("kind", ["geometry_msgs/PoseStamped", "nav_msgs/Odometry"])
def test_everything_inside_comes_back(suffix: str, kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    imu = Imu(np.array([7, 1_007]), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    trajectory = Trajectory(np.array([20, 1_000_020]), POSES)
    frame = Frame(33, rng.integers(0, 256, (4, 6)).astype(np.uint8))
    messages = Messages(ros2=suffix != ".bag")
    topics = {
        "/events": list(messages.event_arrays(random_events(500))),
        "/imu": list(messages.imu(imu)),
        "/pose": list(messages.poses(trajectory, kind)),
        "/image": list(messages.frames((frame,))),
    }
    write_bag(tmp_path / f"a{suffix}", topics, messages)
    recording = open_recording(tmp_path / f"a{suffix}")
    assert recording.size == SensorSize(480, 640)
    assert recording.imu is not None
    assert recording.groundtruth is not None
    np.testing.assert_array_equal(recording.imu.t_us, imu.t_us)
    np.testing.assert_array_equal(recording.imu.acceleration, imu.acceleration)
    np.testing.assert_array_equal(recording.imu.gyro, imu.gyro)
    np.testing.assert_array_equal(recording.groundtruth.t_us, trajectory.t_us)
    np.testing.assert_allclose(recording.groundtruth.poses, POSES, rtol=1e-15)
    (found,) = recording.reader.frames()
    assert found.t_us == 33
    np.testing.assert_array_equal(found.image, frame.image)


@each_container
def test_no_events_says_what_is_there(suffix: str, tmp_path: Path) -> None:
    messages = Messages(ros2=suffix != ".bag")
    write_bag(tmp_path / f"a{suffix}", {"/pose": list(messages.poses(Trajectory(np.array([1, 2]), POSES)))}, messages)
    with pytest.raises(DataError, match=r"no topic with events .*; there is /pose \(geometry_msgs/msg/PoseStamped\)"):
        RosbagReader(tmp_path / f"a{suffix}")


def test_clock_of_evt3_goes_on_after_a_jump_into_the_bag(tmp_path: Path) -> None:
    """Sixty seconds: the 24-bit clock overflows three times; a pass that begins later knows how often."""
    events = random_events(1_200, rate=20, start_us=100)
    write_packets(tmp_path / "a.mcap", events)
    reader = RosbagReader(tmp_path / "a.mcap")
    found = whole(reader)
    np.testing.assert_array_equal(found.t, events.t)
    start = int(events.t[900])
    part = Events.concatenate(list(reader.read(start)))
    np.testing.assert_array_equal(part.t, events.t[events.t >= start])
    assert reader.counts.read < 400


def packet(encoding: str, content: np.ndarray, time_base_ns: int = 5_000_000) -> EventPacket:
    return EventPacket(5_000, 480, 640, time_base_ns, encoding, content.tobytes())


def test_mono_and_libcaer() -> None:
    mono = packet("mono", np.array([[1_000, 3 | 4 << 16], [2_999, 5 | 6 << 16 | 1 << 31]], "<u4"))
    libcaer = packet("libcaer", np.array([[3 << 17 | 4 << 2, (1 << 31) - 2], [5 << 17 | 6 << 2 | 2, 1]], "<u4"))
    for found, times in ((event_packet._mono(mono), [5_001, 5_002]),
                         (event_packet._libcaer(libcaer), [5_000 + (1 << 31) - 2, 5_000 + (1 << 31) + 1])):  # fmt: skip
        assert (found.t.tolist(), found.x.tolist()) == (times, [3, 5])
        assert (found.y.tolist(), found.p.tolist()) == ([4, 6], [False, True])


def plain_libcaer_cmp(words: list[int]) -> list[tuple[int, int, int, int]]:
    """libcaer_cmp, word by word."""
    rows, high, low, column, base, polarity = [], 0, 0, 0, 0, 0
    for word in words:
        kind, content = divmod(word, 4096)
        time = high * 4096 + low
        if kind == 0:
            high = content
        elif kind == 1:
            low = content
        elif kind == 2:
            column = content % 2048
        elif kind == 3:
            rows.append((time, column, content % 2048, content // 2048))
        elif kind == 4:
            base, polarity = content % 2048, content // 2048
        elif kind == 5:
            rows += [(time, column, base + i, polarity) for i in range(8) if content >> i & 1]
            base += 8
    return rows


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 0x6FFF)))
def test_libcaer_cmp_equals_plain_decoder(words: list[int]) -> None:
    found = event_packet._libcaer_cmp(packet("libcaer_cmp", np.array(words, "<u2"), 0))
    rows = list(zip(*(getattr(found, name).astype(int).tolist() for name in "txyp"), strict=True))
    assert rows == plain_libcaer_cmp(words)


@each_container
def test_unknown_encoding_is_named(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messages = Messages(ros2=suffix != ".bag")
    odd: Any = messages.packet(10, "evt9", b"\1\2")
    write_bag(tmp_path / f"a{suffix}", {"/events": [(10, odd)]}, messages)
    with pytest.raises(
        DataError, match=r"/events: no events can be decoded \(\d+ bytes are damaged\); give another bag"
    ):
        RosbagReader(tmp_path / f"a{suffix}")
    assert "events in the encoding 'evt9'; known are evt3, libcaer_cmp, libcaer, mono" in caplog.text


def test_damaged_message_is_skipped_and_counted(tmp_path: Path) -> None:
    events = random_events(900)
    path = tmp_path / "a.bag"
    write_event_arrays(path, events)
    content = path.read_bytes()
    number = (300).to_bytes(4, "little")
    second = content.index(number, content.index(number) + 4)
    path.write_bytes(content[:second] + (10**6).to_bytes(4, "little") + content[second + 4 :])
    reader = RosbagReader(path)
    found = whole(reader)
    assert found.t.tolist() == events.t[np.r_[0:300, 600:900]].tolist()
    assert reader.counts.damaged_bytes > 300 * 13


@pytest.mark.parametrize("suffix", [".bag", ".mcap"])
def test_cut_off_bag_says_what_is_lost(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = random_events(3_000)
    path = tmp_path / f"a{suffix}"
    write_event_arrays(path, events)
    path.write_bytes(path.read_bytes()[:20_000])
    reader = RosbagReader(path)
    found = whole(reader)
    assert 600 <= len(found) < 3_000
    assert found.t.tolist() == events.t[: len(found)].tolist()
    assert reader.counts.truncated_bytes > 0
    assert f"whole messages are read, {reader.counts.truncated_bytes} bytes at the end are lost" in caplog.text


def test_evt3_words_are_those_of_raw_files() -> None:
    events = random_events(200)
    decoded = event_packet.PacketDecoder().decode(packet("evt3", evt3_words(events)))
    assert (decoded.t - decoded.t[0]).tolist() == (events.t - events.t[0]).tolist()
    assert decoded.t[0] == 5_000


@each_container
@pytest.mark.parametrize(
    "camera",
    [
        Camera(199.1, 198.8, 132.2, 110.7, SensorSize(480, 640), "radtan", (-0.368, 0.151, -0.0003, -0.0008, 0.0)),
        Camera(320.0, 321.0, 319.5, 239.5, SensorSize(480, 640), "equidistant", (0.1, 0.01, 0.001, 0.0)),
        Camera(320.0, 321.0, 319.5, 239.5, SensorSize(480, 640), "none", ()),
    ],
    ids=lambda camera: camera.model,
)
def test_camera_info_is_the_calibration(suffix: str, camera: Camera, tmp_path: Path) -> None:
    messages = Messages(ros2=suffix != ".bag")
    topics = {
        "/dvs/events": list(messages.event_arrays(random_events(50))),
        "/dvs/camera_info": [(5, messages.camera_info(5, camera))],
        "/other/camera_info": [(5, messages.camera_info(5, Camera(1.0, 1.0, 1.0, 1.0, SensorSize(4, 4))))],
    }
    write_bag(tmp_path / f"a{suffix}", topics, messages)
    assert open_recording(tmp_path / f"a{suffix}").require_camera() == camera
