"""The messages of a bag in any of its containers (ROS 1, sqlite3, mcap), which the library rosbags reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.rosbag1 import Reader as BagReader
from rosbags.rosbag2.reader import McapReader, Sqlite3Reader

from evslam.errors import DataError
from evslam.io.bag_salvage import BagSalvage, McapSalvage
from evslam.io.files import opened

CONTAINERS = {  # signature: reader by index, and for bags that are cut off
    b"#ROSBAG V2.0\n": (BagReader, BagSalvage),
    b"SQLite format 3\x00": (Sqlite3Reader, None),
    b"\x89MCAP0\r\n": (McapReader, McapSalvage),
}


def container_of(path: Path) -> Any:
    """The entry of `CONTAINERS` that a file begins as; None for none."""
    with opened(path) as file:
        head = file.read(16)
    return next((readers for signature, readers in CONTAINERS.items() if head.startswith(signature)), None)


class Bag:
    """A bag, opened anew for whatever is asked of it.

    Args:
        path: storage file.

    Attributes:
        is_ros2: its messages are those of ROS 2.

    Raises:
        DataError: the bag cannot be read; all methods raise it, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader, self._salvage = container_of(path)
        self.is_ros2 = self._reader is not BagReader
        if self._reader is Sqlite3Reader:
            _check_pages(path)

    def salvage(self) -> bool:
        """From now on, read whole messages without the index; False if this container allows no such thing."""
        if self._salvage is not None:
            self._reader = self._salvage
        return self._salvage is not None

    @property
    def lost_bytes(self) -> int:
        """At the end of a bag that is salvaged."""
        with self._opened() as bag:
            return int(bag.lost_bytes)

    def topics(self) -> list[tuple[str, str]]:
        """Names and message types, sorted."""
        with self._opened() as bag:
            return sorted({(item.topic, item.msgtype) for item in bag.connections})

    def span_ns(self) -> tuple[int, int]:
        """Arrival of the first message, and a time after the last."""
        with self._opened() as bag:
            about = getattr(bag, "metadata", bag)
            return int(about.start_time), int(about.end_time)

    def messages(self, topic: str, start_ns: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Arrival in nanoseconds and content of the messages of a topic, those that arrived from a time on."""
        with self._opened() as bag:
            connections = [item for item in bag.connections if item.topic == topic]
            for _, arrival_ns, raw in bag.messages(connections, start=start_ns, stop=None):
                yield arrival_ns, bytes(raw)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The open reader; whatever the library meets in a broken bag becomes a DataError."""
        try:
            bag = self._reader(self.path)
            bag.open()
            try:
                yield bag
            finally:
                bag.close()
        except (DataError, GeneratorExit):
            raise
        except Exception as error:  # the library lets the errors of its parsers and decompressors pass
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.path}: cannot be read as a bag ({reason:.200}); copy it again, or mend it with rosbag reindex "
                f"(ROS 1), ros2 bag reindex or mcap recover (ROS 2)"
            ) from None


def _check_pages(path: Path) -> None:
    """Refuses a sqlite3 file that is cut off: sqlite would read zeros from a page of which a part is missing.

    Raises:
        DataError: the file is shorter than its header says.
    """
    with opened(path) as file:
        head = file.read(32)
        num_bytes = file.seek(0, 2)
    page_bytes, num_pages = (int.from_bytes(head[start:stop], "big") for start, stop in ((16, 18), (28, 32)))
    stated = (1 << 16 if page_bytes == 1 else page_bytes) * num_pages
    if num_bytes < stated:
        raise DataError(
            f"{path}: cut off after {num_bytes} of {stated} bytes; copy it again, or save what is whole with "
            f"sqlite3 {path.name} .recover"
        )
