"""Small files of every format, written from the published specifications: for tests, fuzzing and measurements."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from evslam.eval.bench.aedat4_files import write_aedat4
from evslam.eval.bench.ros_files import Messages, write_bag, write_event_arrays
from evslam.io.aedat4 import UNCOMPRESSED, ZSTD
from evslam.io.hdf5_writer import Hdf5Writer
from evslam.io.reader import Frame
from evslam.io.text import write_events_text
from evslam.types import Events, Imu, SensorSize, Trajectory

SIZE = SensorSize(height=480, width=640)


@dataclass(frozen=True)
class SampleFormat:
    """A way to write events.

    Attributes:
        name: also the name of a file.
        suffix: of its name, with the dot.
        write: writes events to a path.
        size: the resolution that such a file has.
    """

    name: str
    suffix: str
    write: Callable[[Path, Events], None]
    size: SensorSize = SIZE

    def events(self, num_events: int, **options: float) -> Events:
        """Random events of this resolution; see `random_events`."""
        events = random_events(num_events, **options)  # type: ignore[arg-type]
        return Events(events.t, events.x % self.size.width, events.y % self.size.height, events.p)

    def file(self, folder: Path) -> Path:
        """Where such a file goes in a folder."""
        return folder / (self.name.replace(" ", "_").lower() + self.suffix)


def random_events(num_events: int, seed: int = 0, rate: float = 1e6, start_us: int = 5_000) -> Events:
    """Sorted events of uniform places: a quarter of them in rows, as vectorised encodings expect."""
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, max(round(num_events / rate * 1e6), 1), num_events))
    x, y = rng.integers(0, SIZE.width, num_events), rng.integers(0, SIZE.height, num_events)
    p = rng.integers(0, 2, num_events) > 0
    head = np.arange(num_events) // 4 * 4
    row = np.repeat(rng.random(-(-num_events // 4)) < 0.5, 4)[:num_events]
    t, y, p = (np.where(row, column[head], column) for column in (t, y, p))
    x = np.where(row, np.minimum(x[head] // 8 * 8 + np.arange(num_events) % 4, SIZE.width - 1), x)
    order = np.argsort(t, kind="stable")
    return Events(t[order], x[order].astype(np.uint16), y[order].astype(np.uint16), p[order])


def _header(*lines: str) -> bytes:
    return "".join(f"% {line}\n" for line in lines).encode()


def _columns(events: Events) -> tuple[np.ndarray, ...]:
    return tuple(getattr(events, name).astype(np.int64) for name in "txyp")


def _with_times(words: np.ndarray, high: np.ndarray, time_word: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Puts a time word before every word whose upper time differs from the one before."""
    new = np.flatnonzero(np.concatenate([[True], np.diff(high) != 0]))
    return np.insert(words, new, time_word(high[new]))


def write_evt2(path: Path, events: Events) -> None:
    """Prophesee RAW in EVT 2.0."""
    t, x, y, p = _columns(events)
    words = p << 28 | (t & 0x3F) << 22 | x << 11 | y
    words = _with_times(words, t >> 6, lambda high: 8 << 28 | (high & 0xFFFFFFF))
    header = _header("evt 2.0", "format EVT2;height=480;width=640", "geometry 640x480", "end")
    path.write_bytes(header + words.astype("<u4").tobytes())


def write_evt21(path: Path, events: Events, legacy: bool = False) -> None:
    """Prophesee RAW in EVT 2.1, one pixel in a word; `legacy` swaps the halves of words."""
    t, x, y, p = _columns(events)
    base = x // 32 * 32
    upper = p << 28 | (t & 0x3F) << 22 | base << 11 | y
    words = upper.astype(np.uint64) << np.uint64(32) | np.uint64(1) << (x - base).astype(np.uint64)
    words = _with_times(words, t >> 6, lambda high: (8 << 28 | (high & 0xFFFFFFF)).astype(np.uint64) << np.uint64(32))
    if legacy:
        words = words >> np.uint64(32) | words << np.uint64(32)
    order = "legacy" if legacy else "little"
    header = _header(f"format EVT21;endianness={order};height=480;width=640", "end")
    path.write_bytes(header + words.astype("<u8").tobytes())


def evt3_words(events: Events) -> np.ndarray:
    """EVT 3.0 words; four events side by side become one vector."""
    words: list[int] = []
    high = low = row = -1
    columns = [column.tolist() for column in _columns(events)]
    i = 0
    while i < len(events):
        t, x, y, p = (column[i] for column in columns)
        if t >> 12 != high:
            high, low = t >> 12, 0
            words.append(0x8000 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6000 | low)
        if y != row:
            row = y
            words.append(y)
        beside = [(t, x + k, y, p) for k in range(4)]
        if list(zip(*(column[i : i + 4] for column in columns), strict=True)) == beside:
            words += [0x3000 | p << 11 | x, 0x5000 | 0xF] if i % 8 else [0x3000 | p << 11 | x, 0x4000 | 0xF]
            i += 4
        else:
            words.append(0x2000 | p << 11 | x)
            i += 1
    return np.array(words, "<u2")


def write_evt3(path: Path, events: Events) -> None:
    """Prophesee RAW in EVT 3.0."""
    header = _header("evt 3.0", "format EVT3;height=480;width=640", "geometry 640x480", "end")
    path.write_bytes(header + evt3_words(events).tobytes())


def write_packets(path: Path, events: Events) -> None:
    """A bag of event_camera_msgs/EventPacket with EVT 3.0 words, which run on from packet to packet."""
    messages = Messages(ros2=path.suffix != ".bag")
    words = evt3_words(events)
    parts = np.array_split(words, len(words) // 200 + 1)
    firsts = np.linspace(0, len(events) - 1, len(parts)).astype(int)
    times = events.t[firsts].tolist()
    packets = [(t, messages.packet(t, "evt3", part.tobytes())) for t, part in zip(times, parts, strict=True)]
    write_bag(path, {"/event_camera/events": packets}, messages)


def write_dat(path: Path, events: Events) -> None:
    """Prophesee DAT with 32 bits of time."""
    t, x, y, p = _columns(events)
    rows = np.stack([t & 0xFFFFFFFF, p << 28 | y << 14 | x], axis=1).astype("<u4")
    header = _header("Data file containing CD events", "Version 2", "Width 640", "Height 480")
    path.write_bytes(header + b"\x0c\x08" + rows.tobytes())


def write_text(path: Path, events: Events) -> None:
    """Text of the Event Camera Dataset."""
    write_events_text(path, [events])


def write_csv(path: Path, events: Events, header: str = "", order: str = "xypt", unit: int = 1) -> None:
    """Comma-separated values; `unit` microseconds are one of the times, which are whole numbers then."""
    columns = [getattr(events, name).astype(np.int64) // (unit if name == "t" else 1) for name in order]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    path.write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="ascii")


def write_zip(path: Path, events: Events) -> None:
    """A zip file as the Event Camera Dataset comes in, with calibration and ground truth."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        write_text(Path(folder) / "events.txt", events)
        archive.write(Path(folder) / "events.txt", "events.txt")
        archive.writestr("calib.txt", "320 320 320 240 0 0 0 0 0\n")
        archive.writestr("groundtruth.txt", "0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n")


def write_npz(path: Path, events: Events) -> None:
    """Compressed .npz, one array a column."""
    np.savez_compressed(path, **{name: getattr(events, name) for name in "txyp"})


def write_npy(path: Path, events: Events) -> None:
    """Structured .npy."""
    rows = np.empty(len(events), [("x", "<i2"), ("y", "<i2"), ("timestamp", "<i8"), ("polarity", "?")])
    for name, letter in zip(rows.dtype.names or (), "xytp", strict=True):
        rows[name] = getattr(events, letter)
    np.save(path, rows)


def write_aedat2(path: Path, events: Events, chip: str = "eu.seebetter.ini.chips.davis.Davis640") -> None:
    """AEDAT 2 with a sample of an inertial sensor after every hundredth event."""
    t, x, y, p = _columns(events)
    if "DVS128" in chip:
        address = (127 - y) << 8 | x << 1 | p
        other = 1 << 15
    else:
        address = (SIZE.height - 1 - y) << 22 | x << 12 | p << 11
        other = 1 << 31
    rows = np.stack([address, t & 0xFFFFFFFF], axis=1)
    rows = np.insert(
        rows, np.arange(100, len(rows), 100), np.stack([[other] * len(rows), rows[:, 1]], axis=1)[100::100], 0
    )
    header = f"#!AER-DAT2.0\r\n# AEChip: {chip}\r\n#End Of ASCII Header\r\n".encode()
    path.write_bytes(header + rows.astype(">u4").tobytes())


def write_hdf5(path: Path, events: Events) -> None:
    """evslam's own HDF5."""
    with Hdf5Writer(path) as writer:
        writer.append(events)


def write_dsec(path: Path, events: Events) -> None:
    """DSEC's layout with its compression (blosc, zstd); the offset moves part of the times out of t."""
    offset = max(int(events.t[0]) - 1_000, 0)
    compression = hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
    with h5py.File(path, "w") as file:
        for name, kind in (("x", "u2"), ("y", "u2"), ("t", "u4"), ("p", "u1")):
            values = events.t - offset if name == "t" else getattr(events, name)
            file.create_dataset(f"events/{name}", data=values.astype(kind), compression=compression, chunks=True)
        file["t_offset"] = np.int64(offset)
        ms = np.arange(int(events.t[-1] - offset) // 1000 + 2) * 1000
        file["ms_to_idx"] = np.searchsorted(events.t - offset, ms).astype("u8")


def write_m3ed(path: Path, events: Events) -> None:
    """M3ED's layout, with the resolution."""
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file[f"prophesee/left/{name}"] = getattr(events, name)
        file["prophesee/left/calib/resolution"] = np.array([SIZE.width, SIZE.height])


def write_mvsec(path: Path, events: Events) -> None:
    """MVSEC's layout; its sensor has 346 x 260 pixels."""
    columns = (events.x, events.y, events.t / 1e6, np.where(events.p, 1.0, -1.0))
    with h5py.File(path, "w") as file:
        file["davis/left/events"] = np.stack(columns, axis=1)


def write_event_utils(path: Path, events: Events) -> None:
    """The layout of event_utils: times in seconds."""
    with h5py.File(path, "w") as file:
        for name in "txyp":
            values = getattr(events, name)
            file[f"events/{name}s"] = values / 1e6 if name == "t" else values


IMU = Imu(np.array([5_000, 6_000, 7_000]), np.full((3, 3), 9.5), np.full((3, 3), 0.5))
POSES = Trajectory(np.array([5_000, 6_000]), np.array([[1.0, 2, 3, 0, 0, 0, 1], [1, 2, 4, 0, 0.6, 0, 0.8]]))
FRAMES = (Frame(5_500, np.arange(48, dtype=np.uint8).reshape(6, 8)),)
SAMPLE_FORMATS = (
    SampleFormat("evslam HDF5", ".h5", write_hdf5),
    SampleFormat("DSEC HDF5", ".h5", write_dsec),
    SampleFormat("M3ED HDF5", ".h5", write_m3ed),
    SampleFormat("MVSEC HDF5", ".hdf5", write_mvsec, SensorSize(height=260, width=346)),
    SampleFormat("event_utils HDF5", ".h5", write_event_utils),
    SampleFormat("ECD text", ".txt", write_text),
    SampleFormat("CSV", ".csv", write_csv),
    SampleFormat("CSV with header", ".csv", partial(write_csv, header="p,y,x,timestamp_us\n", order="pyxt")),
    SampleFormat("ECD zip", ".zip", write_zip),
    SampleFormat("npz", ".npz", write_npz),
    SampleFormat("npy", ".npy", write_npy),
    SampleFormat("RAW EVT2", ".raw", write_evt2),
    SampleFormat("RAW EVT21", ".raw", write_evt21),
    SampleFormat("RAW EVT21 legacy", ".raw", partial(write_evt21, legacy=True)),
    SampleFormat("RAW EVT3", ".raw", write_evt3),
    SampleFormat("DAT", ".dat", write_dat),
    SampleFormat("AEDAT2 DAVIS", ".aedat", write_aedat2),
    SampleFormat("AEDAT2 DVS128", ".aedat", partial(write_aedat2, chip="DVS128"), SensorSize(height=128, width=128)),
    SampleFormat("AEDAT4", ".aedat4", partial(write_aedat4, imu=IMU, frames=FRAMES)),
    SampleFormat("AEDAT4 zstd", ".aedat4", partial(write_aedat4, compression=ZSTD)),
    SampleFormat("AEDAT4 plain", ".aedat4", partial(write_aedat4, compression=UNCOMPRESSED, imu=IMU, frames=FRAMES)),
    SampleFormat("ROS 1 dvs_msgs", ".bag", partial(write_event_arrays, imu=IMU, poses=POSES, frames=FRAMES)),
    SampleFormat("ROS 1 event_camera_msgs", ".bag", write_packets),
    SampleFormat("ROS 2 prophesee_event_msgs", ".db3", partial(write_event_arrays, package="prophesee_event_msgs")),
    SampleFormat("ROS 2 dvs_msgs", ".mcap", partial(write_event_arrays, imu=IMU, poses=POSES, frames=FRAMES)),
    SampleFormat("ROS 2 event_camera_msgs", ".mcap", write_packets),
)
