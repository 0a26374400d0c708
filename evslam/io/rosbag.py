"""Events, calibration, IMU, poses and images of ROS 1 bags and ROS 2 bags (sqlite3, mcap), without ROS.

Verified: one recording of event_camera_msgs/EventPacket in all three containers gives the same events; the other
messages against bags that rosbags wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evslam.errors import DataError
from evslam.io.bag import Bag, container_of
from evslam.io.calibration import Intrinsics
from evslam.io.event_packet import Columns, PacketDecoder
from evslam.io.events import RawEvents, ReadCounts, merged
from evslam.io.reader import FileReader, Frame, Place
from evslam.io.ros_messages import (
    EventArray,
    MessageError,
    camera_info,
    event_array,
    event_packet,
    image,
    imu_sample,
    pose,
)  # fmt: skip
from evslam.types import Imu, SensorSize, Trajectory

ARRAYS = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
PACKETS = ("event_camera_msgs/msg/EventPacket",)
IMUS, IMAGES, CAMERA_INFOS = ("sensor_msgs/msg/Imu",), ("sensor_msgs/msg/Image",), ("sensor_msgs/msg/CameraInfo",)
# Number of strings between header and pose.
POSES = {
    "geometry_msgs/msg/PoseStamped": 0, "nav_msgs/msg/Odometry": 1, "geometry_msgs/msg/TransformStamped": 1,
    "geometry_msgs/msg/PoseWithCovarianceStamped": 0,
}  # fmt: skip
MARGIN_NS = 1_000_000_000  # messages are looked for so much before and after the times that their arrival tells
MAX_NORM_ERROR = 1e-2
MAX_SIDE = 1 << 16
_log = logging.getLogger(__name__)


def is_rosbag(path: Path) -> bool:
    """Whether the file begins as a ROS 1 bag or a storage file of a ROS 2 bag does."""
    return container_of(path) is not None


class RosbagReader(FileReader):
    """Reads the events of a bag (an EventReader); a start is found by the bag's index.

    Events come from the first topic, by name, of a known type. All times are ROS time.

    Raises:
        DataError: the bag cannot be read, or holds no events of a known type.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        self._bag = Bag(self.path)
        self._start_us: int | None = None
        self._delay_ns = 0  # from the first event to the arrival of its message
        self._lost_bytes = 0
        try:
            self._open()
        except DataError as error:
            if not self._bag.salvage():
                raise
            try:
                self._open()
            except DataError:
                raise error from None
            self._lost_bytes = self._bag.lost_bytes
            _log.warning("%s; whole messages are read, %d bytes at the end are lost", error, self._lost_bytes)

    def _open(self) -> None:
        """Learns the topic, its times and the resolution."""
        self._topic, self._type = self._first_topic((*ARRAYS, *PACKETS))
        self.t_first_us = self._first()
        self.t_last_us = self._last()

    def _first_topic(self, types: tuple[str, ...]) -> tuple[str, str]:
        """Name and type of the topic with events.

        Raises:
            DataError: there is none.
        """
        topics = self._bag.topics()
        fit = [(topic, kind) for topic, kind in topics if kind in types]
        if not fit:
            there = ", ".join(f"{topic} ({kind})" for topic, kind in topics[:10]) or "nothing"
            raise DataError(
                f"{self.path}: no topic with events ({', '.join(types)}); there is {there}; give another bag"
            )
        if len(fit) > 1:
            _log.warning("%s: %d topics with events; %s is read", self.path, len(fit), fit[0][0])
        return fit[0]

    def _decoder(self) -> Callable[[bytes], Columns | EventArray]:
        """Decodes messages in their order; the resolution is taken from them."""
        packets = PacketDecoder(self._start_us)

        def decode(raw: bytes) -> Columns | EventArray:
            if self._type in PACKETS:
                packet = event_packet(raw, self._bag.is_ros2)
                self.sensor_size = self.sensor_size or _size(packet.height, packet.width)
                columns = packets.decode(packet)
                self._start_us = packets.start_us
                return columns
            array = event_array(raw, self._bag.is_ros2)
            self.sensor_size = self.sensor_size or _size(array.height, array.width)
            return array

        return decode

    def _decoded(self, start_ns: int | None, counts: ReadCounts) -> Iterator[tuple[int, int, Columns | EventArray]]:
        """Arrival, number and events of the messages with events; what cannot be decoded is counted."""
        decode = self._decoder()
        for number, (arrival_ns, raw) in enumerate(self._bag.messages(self._topic, start_ns)):
            try:
                columns = decode(raw)
            except MessageError as error:
                counts.damaged_bytes += len(raw)
                _log.warning("%s, %s, message %d skipped (%s)", self.path, self._topic, number, error)
                continue
            if len(columns.t):
                yield arrival_ns, number, columns

    def _first(self) -> int:
        counts = ReadCounts()
        first = next(self._decoded(None, counts), None)
        if first is None:
            raise DataError(
                f"{self.path}, {self._topic}: no events can be decoded ({counts.damaged_bytes} bytes are damaged); "
                f"give another bag"
            )
        self._delay_ns = first[0] - int(first[2].t[0]) * 1000
        return int(first[2].t.min())

    def _last(self) -> int:
        """Newest time of the last message with events, looked for in ever longer stretches."""
        (start_ns, end_ns), span = self._bag.span_ns(), MARGIN_NS
        while True:
            start = end_ns - span if end_ns - span > start_ns else None
            last = None
            for _, _, columns in self._decoded(start, ReadCounts()):
                last = int(columns.t.max())
            if last is not None or start is None:
                return self.t_first_us if last is None else last
            span *= 8

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        return merged(self._raw_events(start_us, counts))

    def _raw_events(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        """The events of each message."""
        counts.truncated_bytes = self._lost_bytes
        start_ns = None
        if start_us is not None and start_us > self.t_first_us:
            start_ns = max(min(start_us, self.t_last_us) * 1000 + self._delay_ns - MARGIN_NS, 0)
        for _, number, events in self._decoded(start_ns, counts):
            place = Place(self.path, 0, f"{self._topic}, message {number}, ")
            yield RawEvents(events.t, events.x, events.y, events.p, place)

    def _samples(self, types: tuple[str, ...], decode: Callable[[bytes, str], Any]) -> Iterator[Any]:
        """The messages of the first topic of some types, decoded; nothing where there is no such topic."""
        topics = [(topic, kind) for topic, kind in self._bag.topics() if kind in types]
        if not topics:
            return
        topic, kind = topics[0]
        if len(topics) > 1:
            _log.warning("%s: %s is used, %s not", self.path, topic, ", ".join(name for name, _ in topics[1:]))
        for arrival_ns, raw in self._bag.messages(topic):
            try:
                yield decode(raw, kind)
            except MessageError as error:
                raise DataError(f"{self.path}, {topic} at {arrival_ns} ns: {error}; record the bag again") from None

    def _table(self, types: tuple[str, ...], decode: Callable[[bytes, str], Any]) -> tuple[np.ndarray, np.ndarray]:
        """Strictly increasing times (N,) and values (N, C) of such messages; repeated times are left out."""
        samples = sorted(self._samples(types, decode))
        t_us = np.array([sample[0] for sample in samples], np.int64)
        values = np.array([sample[1] for sample in samples], np.float64)
        new = np.concatenate([[True], np.diff(t_us) > 0])[: len(t_us)]
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: a message of type {types[0]} holds a value that is not finite; leave it out")
        if not new.all():
            _log.warning("%s: %d messages of type %s repeat a time, left out", self.path, (~new).sum(), types[0])
        return t_us[new], values[new]

    def intrinsics(self) -> Intrinsics | None:
        """See Container: the first sensor_msgs/CameraInfo on the topic beside that of the events."""
        topics = [topic for topic, kind in self._bag.topics() if kind in CAMERA_INFOS]
        beside = [topic for topic in topics if topic.rpartition("/")[0] == self._topic.rpartition("/")[0]]
        for topic in beside or (topics if len(topics) == 1 else []):
            for _, raw in self._bag.messages(topic):
                try:
                    return camera_info(raw, self._bag.is_ros2)
                except MessageError as error:
                    _log.warning("%s, %s: %s", self.path, topic, error)
                    break
        return None

    def imu(self) -> Imu | None:
        """See Container: sensor_msgs/Imu."""
        t_us, values = self._table(IMUS, lambda raw, kind: imu_sample(raw, self._bag.is_ros2))
        return Imu(t_us, values[:, :3], values[:, 3:]) if len(t_us) else None

    def groundtruth(self) -> Trajectory | None:
        """See Container: PoseStamped, Odometry, TransformStamped or PoseWithCovarianceStamped."""
        t_us, values = self._table(tuple(POSES), lambda raw, kind: pose(raw, self._bag.is_ros2, POSES[kind]))
        if len(t_us) < 2:
            return None
        norm = np.linalg.norm(values[:, 3:], axis=1)
        if not (np.abs(norm - 1) < MAX_NORM_ERROR).all():
            raise DataError(f"{self.path}: a pose has a quaternion that is not of unit norm; give the poses in a file")
        return Trajectory(t_us, np.hstack([values[:, :3], values[:, 3:] / norm[:, None]]))

    def frames(self) -> Iterator[Frame]:
        """See Container: sensor_msgs/Image."""
        return self._samples(IMAGES, lambda raw, kind: image(raw, self._bag.is_ros2))


def _size(height: int, width: int) -> SensorSize | None:
    return SensorSize(height=height, width=width) if 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE else None
