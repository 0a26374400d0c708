"""ROS messages decoded from their serialised form: event arrays at full speed, inertial samples, poses, images.

Sources: the message definitions (dvs_msgs, prophesee_event_msgs, event_camera_msgs, sensor_msgs, geometry_msgs,
nav_msgs); ROS 1 serialisation (wiki.ros.org/msg); OMG CDR, "extended CDR encoding version 1", for ROS 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from evslam.io.calibration import Intrinsics
from evslam.io.reader import Frame
from evslam.types import SensorSize

# Seconds, nanoseconds: unsigned in ROS 1, where ROS 2 has signed seconds.
ROS1_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("sec", "<u4"), ("nsec", "<u4"), ("p", "?")])
# From the second event on: CDR aligns times to four bytes, so that events begin two bytes off and are 16 bytes apart.
ROS2_EVENT = np.dtype({"names": ["x", "y", "sec", "nsec", "p"], "formats": ["<u2", "<u2", "<u4", "<u4", "?"],
                       "offsets": [0, 2, 6, 10, 14], "itemsize": 16})  # fmt: skip
GREY_WEIGHTS = {"mono8": (1.0,), "8UC1": (1.0,), "rgb8": (0.299, 0.587, 0.114), "bgr8": (0.114, 0.587, 0.299)}
DISTORTION_MODELS = {  # ROS name: ours, number of coefficients
    "plumb_bob": ("radtan", 5), "radtan": ("radtan", 5), "": ("radtan", 5),
    "equidistant": ("equidistant", 4), "fisheye": ("equidistant", 4),
}  # fmt: skip


class MessageError(ValueError):
    """A message is cut off or holds what it cannot hold."""


class Cursor:
    """Reads the fields of a serialised message one after the other.

    Args:
        raw: the message.
        ros2: whether it is CDR (aligned, behind four bytes that tell the byte order) or ROS 1 (packed).
    """

    def __init__(self, raw: bytes, ros2: bool) -> None:
        self.raw, self.ros2 = raw, ros2
        self.position = self._origin = 4 if ros2 else 0
        if ros2 and raw[:2] != b"\x00\x01":
            raise MessageError(f"serialised as {raw[:2]!r}, where little-endian CDR is expected")

    def take(self, form: str, number: int = 1) -> tuple:
        """`number` values of one `struct` letter."""
        width = struct.calcsize(form)
        if self.ros2:
            self.position += -(self.position - self._origin) % width
        try:
            values = struct.unpack_from(f"<{number}{form}", self.raw, self.position)
        except struct.error:
            raise MessageError(f"cut off at byte {self.position} of {len(self.raw)}") from None
        self.position += number * width
        return values

    def bytes(self) -> bytes:
        """A string or sequence of bytes, without the NUL that CDR appends to strings."""
        (number,) = self.take("I")
        start, self.position = self.position, self.position + number
        if self.position > len(self.raw):
            raise MessageError(f"{number} bytes from byte {start} reach beyond the end")
        return self.raw[start : self.position]

    def text(self) -> str:
        """A string."""
        return self.bytes().rstrip(b"\0").decode("ascii", "replace")

    def stamp_us(self) -> int:
        """A std_msgs/Header, of which the time stamp is returned in microseconds."""
        if not self.ros2:
            self.take("I")  # sequence number
        sec, nsec = self.take("I", 2)
        self.bytes()  # frame_id
        return sec * 1_000_000 + round(nsec / 1000)


@dataclass(frozen=True)
class EventArray:
    """dvs_msgs/EventArray or prophesee_event_msgs/EventArray."""

    height: int
    width: int
    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def event_array(raw: bytes, ros2: bool) -> EventArray:
    """Decodes a dvs_msgs/EventArray or prophesee_event_msgs/EventArray; times are those of the events.

    Raises:
        MessageError: it is cut off.
    """
    cursor = Cursor(raw, ros2)
    cursor.stamp_us()
    height, width, number = cursor.take("I", 3)
    size = ROS2_EVENT.itemsize if ros2 else ROS1_EVENT.itemsize
    if cursor.position + number * size - (3 if ros2 and number else 0) > len(raw):
        raise MessageError(f"{number} events in {len(raw) - cursor.position} bytes")
    if not ros2:
        rows = np.frombuffer(raw, ROS1_EVENT, number, cursor.position)
    elif number:
        # The first event lies as the others do, but without the two bytes between y and the time.
        start = cursor.position
        content = raw[start : start + 4] + bytes(2) + raw[start + 4 : start + 14] + raw[start + 14 :]
        rows = np.frombuffer(content.ljust(number * size, b"\0"), ROS2_EVENT, number)
    else:
        rows = np.empty(0, ROS2_EVENT)
    t = rows["sec"].astype(np.int64) * 1_000_000 + (rows["nsec"].astype(np.int64) + 500) // 1000
    return EventArray(height, width, t, rows["x"], rows["y"], rows["p"])


@dataclass(frozen=True)
class EventPacket:
    """event_camera_msgs/EventPacket; `time_base_ns` counts only in the encodings that say so."""

    stamp_us: int
    height: int
    width: int
    time_base_ns: int
    encoding: str
    content: bytes


def event_packet(raw: bytes, ros2: bool) -> EventPacket:
    """Decodes an event_camera_msgs/EventPacket but for its content.

    Raises:
        MessageError: it is cut off, or from a big-endian machine.
    """
    cursor = Cursor(raw, ros2)
    stamp_us = cursor.stamp_us()
    height, width = cursor.take("I", 2)
    _, time_base_ns = cursor.take("Q", 2)
    encoding = cursor.text()
    if cursor.take("?")[0]:
        raise MessageError("big-endian events, which no camera is known to send")
    return EventPacket(stamp_us, height, width, time_base_ns, encoding, cursor.bytes())


def imu_sample(raw: bytes, ros2: bool) -> tuple[int, tuple[float, ...]]:
    """Time in microseconds, acceleration (3) and angular velocity (3) of a sensor_msgs/Imu."""
    cursor = Cursor(raw, ros2)
    stamp_us = cursor.stamp_us()
    values = cursor.take("d", 37)  # orientation 4, covariance 9, gyro 3, covariance 9, acceleration 3, covariance 9
    return stamp_us, (*values[25:28], *values[13:16])


def pose(raw: bytes, ros2: bool, num_names: int) -> tuple[int, tuple[float, ...]]:
    """Time in microseconds, position and quaternion x y z w; `num_names` strings stand between header and pose."""
    cursor = Cursor(raw, ros2)
    stamp_us = cursor.stamp_us()
    for _ in range(num_names):
        cursor.bytes()
    return stamp_us, cursor.take("d", 7)


def camera_info(raw: bytes, ros2: bool) -> Intrinsics:
    """A sensor_msgs/CameraInfo.

    Raises:
        MessageError: it is cut off, not calibrated, or of another distortion model than plumb_bob and equidistant.
    """
    cursor = Cursor(raw, ros2)
    cursor.stamp_us()
    height, width = cursor.take("I", 2)
    model = cursor.text()
    (number,) = cursor.take("I")
    if number > 14:
        raise MessageError(f"{number} coefficients of distortion")
    distortion = cursor.take("d", number) if number else ()
    fx, _, cx, _, fy, cy, *_ = cursor.take("d", 9)
    if fx == 0 or model not in DISTORTION_MODELS:
        raise MessageError(f"focal length {fx:g} and distortion model {model!r}, no usable calibration")
    name, length = DISTORTION_MODELS[model]
    distortion = (*distortion, *[0.0] * length)[:length]
    size = SensorSize(height=height, width=width) if height and width else None
    return Intrinsics(fx, fy, cx, cy, name if any(distortion) else "none", distortion if any(distortion) else (), size)


def image(raw: bytes, ros2: bool) -> Frame:
    """A sensor_msgs/Image in grey.

    Raises:
        MessageError: it is cut off, or of another encoding than 8-bit grey, RGB or BGR.
    """
    cursor = Cursor(raw, ros2)
    stamp_us = cursor.stamp_us()
    height, width = cursor.take("I", 2)
    encoding = cursor.text()
    cursor.take("?")
    (step,) = cursor.take("I")
    content = np.frombuffer(cursor.bytes(), np.uint8)
    weights = GREY_WEIGHTS.get(encoding)
    if weights is None or len(content) != step * height or width * len(weights) > step or not step:
        raise MessageError(f"image of encoding {encoding!r}, {width}x{height} pixels in {len(content)} bytes")
    pixels = content.reshape(height, step)[:, : width * len(weights)].reshape(height, width, len(weights))
    grey = pixels[..., 0] if len(weights) == 1 else np.rint(pixels @ np.array(weights)).astype(np.uint8)
    return Frame(stamp_us, grey)
