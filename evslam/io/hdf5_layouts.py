"""Where event datasets of different origin stand in an HDF5 file, and their units.

Sources: dsec.ifi.uzh.ch/data-format; the TUM-VIE, EDS and M3ED data pages (m3ed.io/data_overview/datafiles); the MVSEC
data format; event_utils. Verified against files that the tests write from these pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from evslam.errors import CalibrationError, DataError
from evslam.io.calibration import Intrinsics
from evslam.io.hdf5_salvage import is_whole
from evslam.types import SensorSize

MAX_CHUNK_BYTES = 1 << 28
MAX_SIDE = 1 << 16
SECOND_US = 1_000_000


@dataclass(frozen=True)
class Samples:
    """A time series beside the events: datasets of the times and the values; `unit_us` microseconds are one of t."""

    t: str
    values: tuple[str, ...]
    unit_us: int = 1


@dataclass(frozen=True)
class Layout:
    """A way to store events.

    Attributes:
        name: as shown to the user.
        datasets: of t, x, y, p; the same one four times is a matrix with the columns x, y, t, p.
        in_seconds: whether t is seconds as floating point, instead of microseconds.
        offset: dataset with microseconds to be added to t, if it is there.
        resolution: dataset with width and height.
        size: the resolution of the only sensor that has this layout.
        calibration: group with intrinsics (4), distortion_coeffs (4) and distortion_model, as Kalibr names them.
        imu: acceleration and angular velocity, in one dataset (N, 6) or in two (N, 3).
        poses: matrices (N, 4, 4).
        frames: images (N, H, W).
    """

    name: str
    datasets: dict[str, str]
    in_seconds: bool = False
    offset: str | None = None
    resolution: str | None = None
    size: SensorSize | None = None
    calibration: str | None = None
    imu: Samples | None = None
    poses: Samples | None = None
    frames: Samples | None = None

    @property
    def is_matrix(self) -> bool:
        """Whether all columns stand in one dataset."""
        return len(set(self.datasets.values())) == 1


def _named(pattern: str, letters: str = "txyp") -> dict[str, str]:
    return {letter: pattern.format(letter) for letter in letters}


MVSEC = "davis/left/"
LAYOUTS = (
    Layout("evslam HDF5", _named("{}"), offset="t_offset"),  # EDS too
    Layout("DSEC or TUM-VIE HDF5", _named("events/{}"), offset="t_offset"),
    Layout(
        "M3ED HDF5",
        _named("prophesee/left/{}"),
        resolution="prophesee/left/calib/resolution",
        calibration="prophesee/left/calib",
        imu=Samples("ovc/imu/ts", ("ovc/imu/accel", "ovc/imu/omega")),
    ),
    Layout(
        "MVSEC HDF5",
        _named(MVSEC + "events"),
        in_seconds=True,
        size=SensorSize(height=260, width=346),
        imu=Samples(MVSEC + "imu_ts", (MVSEC + "imu",), SECOND_US),
        poses=Samples(MVSEC + "pose_ts", (MVSEC + "pose",), SECOND_US),
        frames=Samples(MVSEC + "image_raw_ts", (MVSEC + "image_raw",), SECOND_US),
    ),
    Layout("event_utils HDF5", _named("events/{}s"), in_seconds=True),
)


@dataclass(frozen=True)
class Columns:
    """The events of an open file, read in pieces.

    Raises:
        DataError: as the reader's; see `find_layout` and `_checked_length`.
    """

    path: Path
    file: h5py.File
    layout: Layout
    sets: dict[str, h5py.Dataset]
    offset_us: int
    length: int

    @staticmethod
    def of(path: Path, file: h5py.File) -> Columns:
        """Finds and checks the events of a file."""
        layout = find_layout(path, file)
        length = _checked_length(path, file, layout)
        offset = 0
        if layout.offset is not None and file.get(layout.offset, getlink=True) is not None:
            offset = _whole_number(path, file, layout.offset)
        sets = {letter: file[name] for letter, name in layout.datasets.items()}
        return Columns(path, file, layout, sets, offset, length)

    def read(self, names: str, start: int, stop: int) -> list[np.ndarray]:
        """Columns of events start to stop; t as int64 microseconds."""
        if self.layout.is_matrix:
            rows = self._part("t", start, stop)
            parts = {name: rows[:, column] for column, name in enumerate("xytp")}
        else:
            parts = {name: self._part(name, start, stop) for name in names}
        return [self._time(parts[name], start) if name == "t" else _whole(parts[name]) for name in names]

    def _part(self, name: str, start: int, stop: int) -> np.ndarray:
        try:
            return self.sets[name][start:stop]
        except (OSError, ValueError, MemoryError) as error:
            raise DataError(
                f"{self.path}: dataset {self.layout.datasets[name]} cannot be read at events {start} to {stop} "
                f"({reason(error)}); copy or convert it again"
            ) from None

    def _time(self, t: np.ndarray, start: int) -> np.ndarray:
        if t.dtype.kind == "f":
            wrong = ~(np.abs(t) < np.iinfo(np.int64).max / SECOND_US)
            if wrong.any():
                index = int(np.argmax(wrong))
                raise DataError(f"{self.path}, event {start + index}: time {t[index]} is no time; leave it out")
            t = np.rint(t * SECOND_US)
        return t.astype(np.int64) + self.offset_us


def _whole(column: np.ndarray) -> np.ndarray:
    """Pixels and polarities as whole numbers; what is none becomes -32768, which the check of events refuses."""
    if column.dtype.kind != "f":
        return column
    return np.where(np.abs(column) < 1 << 15, column, -(1 << 15)).astype(np.int32)


def find_layout(path: Path, file: h5py.File) -> Layout:
    """The layout that the file has.

    Raises:
        DataError: it has none of them.
    """
    for layout in LAYOUTS:
        if all(isinstance(_get(file, name), h5py.Dataset) for name in layout.datasets.values()):
            return layout
    names: list[str] = []
    try:
        file.visititems(lambda name, item: names.append(str(name)) if isinstance(item, h5py.Dataset) else None)
    except (OSError, RuntimeError, KeyError, ValueError):
        names.append("... (damaged)")
    found = ", ".join(names[:20]) or "none"
    known = ", ".join(layout.name.removesuffix(" HDF5") for layout in LAYOUTS[1:])
    hint = "; Metavision's own HDF5 needs its plugin, convert it to RAW" if "CD/events" in names else ""
    raise DataError(
        f"{path}: datasets t, x, y, p are expected, there are: {found}; convert it to this layout or that of "
        f"{known}{hint}"
    )


def stated_size(path: Path, file: h5py.File, layout: Layout) -> SensorSize | None:
    """The resolution that the file or its layout states."""
    if layout.resolution is None or not isinstance(_get(file, layout.resolution), h5py.Dataset):
        return layout.size
    numbers = np.ravel(series(path, file, layout.resolution)).tolist()
    if len(numbers) != 2 or not all(number == int(number) and 0 < number <= MAX_SIDE for number in numbers):
        raise DataError(f"{path}: {layout.resolution} is {numbers[:5]}, not width and height; correct it")
    return SensorSize(height=int(numbers[1]), width=int(numbers[0]))


def stated_calibration(path: Path, file: h5py.File, layout: Layout) -> Intrinsics | None:
    """The calibration that the file states."""
    group = layout.calibration
    if group is None or file.get(f"{group}/intrinsics", getlink=True) is None:
        return None
    numbers = np.ravel(series(path, file, f"{group}/intrinsics")).astype(float).tolist()
    distortion = np.ravel(series(path, file, f"{group}/distortion_coeffs")).astype(float).tolist()
    stated = _get(file, f"{group}/distortion_model")
    model = stated.asstr()[()] if isinstance(stated, h5py.Dataset) and stated.dtype.kind in "OS" else None
    if len(numbers) != 4 or len(distortion) != 4 or model not in ("radtan", "equidistant"):
        raise CalibrationError(
            f"{path}: {group} holds {len(numbers)} intrinsics, {len(distortion)} coefficients of the model {model!r}; "
            f"give a calibration with --calib FILE"
        )
    coefficients = (*distortion, 0.0) if model == "radtan" else tuple(distortion)
    fx, fy, cx, cy = numbers
    return Intrinsics(fx, fy, cx, cy, str(model), coefficients, stated_size(path, file, layout))


def series(path: Path, file: h5py.File, name: str) -> np.ndarray:
    """A whole dataset that is small beside the events, as numbers.

    Raises:
        DataError: it is missing, unreadable or holds no numbers.
    """
    dataset = _get(file, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iufb" or dataset.dtype.itemsize > 8:
        raise DataError(f"{path}: dataset {name} is missing or holds no numbers; download the file again")
    _check_chunks(path, name, dataset)
    if not is_whole(dataset, path.stat().st_size):
        raise DataError(f"{path}: cut off within the dataset {name}; copy it again")
    try:
        return dataset[()]
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"{path}: dataset {name} cannot be read ({reason(error)}); copy it again") from None


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = (getattr(error, "strerror", None) or str(error)).splitlines()
    return text[0] if text else type(error).__name__


def _get(file: h5py.File, name: str) -> object:
    """An object of the file, None where there is none or it cannot be opened."""
    try:
        return file.get(name)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return None


def _whole_number(path: Path, file: h5py.File, name: str) -> int:
    value = series(path, file, name)
    if value.size != 1 or value.dtype.kind not in "iu" or abs(int(value.flat[0])) > 1 << 62:
        raise DataError(f"{path}: {name} is {value}, one whole number is expected; correct it")
    return int(value.flat[0])


def _check_chunks(path: Path, name: str, dataset: h5py.Dataset) -> None:
    chunk_bytes = int(np.prod(dataset.chunks or (1,), dtype=object)) * dataset.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise DataError(f"{path}: dataset {name} is stored in chunks of {chunk_bytes} bytes; repack it (h5repack)")


def _checked_length(path: Path, file: h5py.File, layout: Layout) -> int:
    """The number of events, after a check that the datasets are of equal length and of numbers."""
    names = layout.datasets
    if file[names["t"]].dtype.kind == "f" and not layout.in_seconds:
        raise DataError(
            f"{path}: {names['t']} has type {file[names['t']].dtype}, seconds where microseconds are expected; "
            f"multiply t by 1e6 and store it as int64"
        )
    for letter, name in names.items():
        dataset = file[name]
        kinds = "iubf" if layout.is_matrix or (letter in "tp" and layout.in_seconds) else "iub"
        shape = (*dataset.shape[:1], 4) if layout.is_matrix else dataset.shape[:1]
        if dataset.shape != shape or len(shape) == 0 or dataset.dtype.kind not in kinds or dataset.dtype.itemsize > 8:
            wanted = "float64 (N, 4)" if layout.is_matrix else {"t": "int64", "p": "uint8"}.get(letter, "uint16")
            raise DataError(
                f"{path}: {name} has type {dataset.dtype} and shape {dataset.shape}, one column of whole numbers is "
                f"expected; convert it to {wanted}"
            )
        _check_chunks(path, name, dataset)
    lengths = {name: len(file[name]) for name in names.values()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{path}: the datasets differ in length ({shown}); write the file again")
    length = lengths[names["t"]]
    if length == 0:
        raise DataError(f"{path}: holds no events; give another recording")
    return length
