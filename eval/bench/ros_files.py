"""ROS bags whose messages and containers rosbags writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as BagWriter
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as StorageWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from evslam.geometry.camera import Camera
from evslam.io.reader import Frame
from evslam.types import Events, Imu, Trajectory

EVENTS_IN_MESSAGE = 300
HEIGHT, WIDTH = 480, 640
ARRIVAL_NS = 2_000_000  # a message arrives so much later than its first event
_EVENT = "uint16 x\nuint16 y\ntime ts\nbool polarity\n"
_ARRAY = "std_msgs/Header header\nuint32 height\nuint32 width\n{0}/Event[] events\n"
_PACKET = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
    "bool is_bigendian\nuint8[] events\n"
)
_STORES = {False: Stores.ROS1_NOETIC, True: Stores.ROS2_HUMBLE}
_PLUGINS = {".db3": StoragePlugin.SQLITE3, ".mcap": StoragePlugin.MCAP}


class Messages:
    """Makes messages of one ROS generation and serialises them.

    Args:
        ros2: whether it is ROS 2.
    """

    def __init__(self, ros2: bool) -> None:
        self.ros2 = ros2
        self.store = get_typestore(_STORES[ros2])
        event = _EVENT.replace("time ts", "builtin_interfaces/Time ts") if ros2 else _EVENT
        types: dict[str, Any] = get_types_from_msg(_PACKET, "event_camera_msgs/msg/EventPacket")
        for package in ("dvs_msgs", "prophesee_event_msgs"):
            types |= get_types_from_msg(event, f"{package}/msg/Event")
            types |= get_types_from_msg(_ARRAY.format(package), f"{package}/msg/EventArray")
        self.store.register(types)

    def make(self, kind: str, **fields: Any) -> Any:
        """A message of type "package/Name"."""
        return self.store.types[kind.replace("/", "/msg/")](**fields)

    def time(self, t_us: int) -> Any:
        """builtin_interfaces/Time."""
        return self.make("builtin_interfaces/Time", sec=t_us // 1_000_000, nanosec=t_us % 1_000_000 * 1000)

    def header(self, t_us: int) -> Any:
        """std_msgs/Header."""
        sequence = {} if self.ros2 else {"seq": 3}
        return self.make("std_msgs/Header", stamp=self.time(t_us), frame_id="cam", **sequence)

    def event_arrays(self, events: Events, package: str = "dvs_msgs") -> Iterator[tuple[int, Any]]:
        """EventArrays of a package, with the times of their first events."""
        for start in range(0, len(events), EVENTS_IN_MESSAGE):
            part = events[start : start + EVENTS_IN_MESSAGE]
            rows = zip(*(getattr(part, name).tolist() for name in "txyp"), strict=True)
            items = [self.make(f"{package}/Event", x=x, y=y, ts=self.time(t), polarity=p) for t, x, y, p in rows]
            header = self.header(int(part.t[0]))
            yield (
                int(part.t[0]),
                self.make(f"{package}/EventArray", header=header, height=HEIGHT, width=WIDTH, events=items),
            )

    def packet(self, t_us: int, encoding: str, content: bytes, time_base_ns: int = 0) -> Any:
        """event_camera_msgs/EventPacket."""
        return self.make(
            "event_camera_msgs/EventPacket", header=self.header(t_us), height=HEIGHT, width=WIDTH, seq=1,
            time_base=time_base_ns, encoding=encoding, is_bigendian=False, events=np.frombuffer(content, np.uint8),
        )  # fmt: skip

    def imu(self, imu: Imu) -> Iterator[tuple[int, Any]]:
        """sensor_msgs/Imu with their times."""
        for t_us, acceleration, gyro in zip(imu.t_us.tolist(), imu.acceleration, imu.gyro, strict=True):
            vectors = [
                self.make("geometry_msgs/Vector3", **dict(zip("xyz", v, strict=True))) for v in (gyro, acceleration)
            ]
            yield t_us, self.make(
                "sensor_msgs/Imu", header=self.header(t_us), orientation=self.quaternion(0, 0, 0, 1),
                orientation_covariance=np.full(9, 0.1), angular_velocity=vectors[0],
                angular_velocity_covariance=np.full(9, 0.2), linear_acceleration=vectors[1],
                linear_acceleration_covariance=np.full(9, 0.3),
            )  # fmt: skip

    def quaternion(self, x: float, y: float, z: float, w: float) -> Any:
        """geometry_msgs/Quaternion."""
        return self.make("geometry_msgs/Quaternion", x=x, y=y, z=z, w=w)

    def poses(self, trajectory: Trajectory, kind: str = "geometry_msgs/PoseStamped") -> Iterator[tuple[int, Any]]:
        """PoseStamped or Odometry with their times."""
        for t_us, (x, y, z, *rotation) in zip(trajectory.t_us.tolist(), trajectory.poses.tolist(), strict=True):
            point = self.make("geometry_msgs/Point", x=x, y=y, z=z)
            place = self.make("geometry_msgs/Pose", position=point, orientation=self.quaternion(*rotation))
            if kind == "nav_msgs/Odometry":
                zero = self.make("geometry_msgs/Vector3", x=0.0, y=0.0, z=0.0)
                twist = self.make("geometry_msgs/Twist", linear=zero, angular=zero)
                fields = {
                    "child_frame_id": "base",
                    "pose": self.make("geometry_msgs/PoseWithCovariance", pose=place, covariance=np.zeros(36)),
                    "twist": self.make("geometry_msgs/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
                }
            else:
                fields = {"pose": place}
            yield t_us, self.make(kind, header=self.header(t_us), **fields)

    def camera_info(self, t_us: int, camera: Camera) -> Any:
        """sensor_msgs/CameraInfo of a calibrated camera."""
        matrix = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
        letters = {"d": np.array(camera.distortion, np.float64), "k": matrix, "r": np.eye(3).ravel(), "p": np.zeros(12)}
        named = letters if self.ros2 else {letter.upper(): value for letter, value in letters.items()}
        region = self.make("sensor_msgs/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self.make(
            "sensor_msgs/CameraInfo", header=self.header(t_us), height=camera.size.height, width=camera.size.width,
            distortion_model="equidistant" if camera.model == "equidistant" else "plumb_bob", binning_x=0, binning_y=0,
            roi=region, **named,
        )  # fmt: skip

    def frames(self, frames: tuple[Frame, ...]) -> Iterator[tuple[int, Any]]:
        """sensor_msgs/Image (mono8) with their times."""
        for frame in frames:
            height, width = frame.image.shape
            yield frame.t_us, self.make(
                "sensor_msgs/Image", header=self.header(frame.t_us), height=height, width=width, encoding="mono8",
                is_bigendian=0, step=width, data=frame.image.ravel(),
            )  # fmt: skip


def write_bag(path: Path, topics: dict[str, list[tuple[int, Any]]], messages: Messages) -> None:
    """Writes messages of topics with their times; the suffix of the path tells the container."""
    store = messages.store
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".bag":
            writer: Any = BagWriter(Path(folder) / "made.bag")
            serialise = store.serialize_ros1
        else:
            writer = StorageWriter(Path(folder) / "made", version=9, storage_plugin=_PLUGINS[path.suffix])
            serialise = store.serialize_cdr
        with writer:
            for topic, content in topics.items():
                kind = content[0][1].__msgtype__
                connection = writer.add_connection(topic, kind, typestore=store)
                for t_us, message in content:
                    writer.write(connection, t_us * 1000 + ARRIVAL_NS, serialise(message, kind))
        made = next(file for file in Path(folder).rglob("made*") if file.suffix == path.suffix)
        path.write_bytes(made.read_bytes())


def write_event_arrays(
    path: Path, events: Events, package: str = "dvs_msgs", imu: Imu | None = None, poses: Trajectory | None = None,
    frames: tuple[Frame, ...] = (),
) -> None:  # fmt: skip
    """Writes event arrays and what else is given; the suffix of the path tells the container."""
    messages = Messages(ros2=path.suffix != ".bag")
    topics = {"/dvs/events": list(messages.event_arrays(events, package))}
    if imu is not None:
        topics["/dvs/imu"] = list(messages.imu(imu))
    if poses is not None:
        topics["/pose"] = list(messages.poses(poses))
    if frames:
        topics["/dvs/image_raw"] = list(messages.frames(frames))
    write_bag(path, topics, messages)
