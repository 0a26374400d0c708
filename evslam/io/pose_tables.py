"""Pose tables of every known form, as they stand in the file: TUM, EuRoC, KITTI, NPZ, MVSEC and M3ED."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.io.calibration_tree import HDF5_SIGNATURE
from evslam.io.files import opened, read_text

MAX_NORM_ERROR = 1e-2  # of quaternions and rotation matrices
MAX_TEXT_BYTES, MAX_POSES = 1 << 28, 10_000_000
DAMAGED = (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, MemoryError)  # what h5py raises
LARGEST = 1e100  # a number beyond is damage, and its square would overflow
TUM_LAYOUT = ("t", "px", "py", "pz", "qx", "qy", "qz", "qw")
_POSITION = re.compile(r"(?:p|t|pos|position|trans|translation)?_?(?:rs_r_)?([xyz])")
_QUATERNION = re.compile(r"q(?:uat|uaternion)?_?(?:rs_)?([wxyz])")
_TIME = re.compile(r"(?:t|ts|time|timestamp|timestamps|stamp)(?:_(s|sec|ms|us|ns))?")
_UNITS = {"s": "s", "sec": "s", "secs": "s", "ms": "ms", "us": "us", "ns": "ns"}


@dataclass(frozen=True)
class PoseTable:
    """Poses before any choice of unit, frame or direction.

    Attributes:
        form: name, as shown to the user.
        times: (N,) float64 in the file's unit, empty for KITTI, which has none.
        unit: s, ms, us or ns where the file or its form says so, else None.
        poses: (N, 7) float64, translation and unit quaternion x y z w.
        inverse: whether the form says that the poses map the world to the camera.
        place: says for messages where pose i stands.
    """

    form: str
    times: np.ndarray
    unit: str | None
    poses: np.ndarray
    inverse: bool
    place: Callable[[int], str]


def read_poses(path: Path) -> PoseTable:
    """Reads a pose file; the form is recognised by content.

    Args:
        path: text with 8 columns "t px py pz qx qy qz qw" (TUM, Event Camera Dataset), a table whose header names its
            columns (EuRoC's data.csv and others), KITTI's 12 columns, NPZ, MVSEC's *_gt.hdf5 or M3ED's *_pose_gt.h5.

    Raises:
        DataError: the file is missing, of no known form, or a value cannot be used.
    """
    with opened(path) as file:
        head = file.read(len(HDF5_SIGNATURE))
    if head == HDF5_SIGNATURE:
        return _from_hdf5(path)
    return _from_npz(path) if head.startswith(b"PK\x03\x04") else _from_text(path)


def poses_from_matrices(matrices: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """(N, 7) poses of (N, 3, 4) or (N, 4, 4) matrices.

    Raises:
        DataError: a value is not finite, or a matrix has no rotation in its left block.
    """
    matrices = np.asarray(matrices, np.float64)
    wrong = ~_usable(matrices).all((1, 2))
    if wrong.any():
        raise DataError(f"{place(int(np.argmax(wrong)))}: pose is not finite; remove poses without a measurement")
    R = matrices[:, :3, :3]
    error = np.abs(R.transpose(0, 2, 1) @ R - np.eye(3)).max((1, 2))
    wrong = (error > MAX_NORM_ERROR) | (np.linalg.det(R) < 0)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(
            f"{place(index)}: no rotation matrix (R'R is off by {error[index]:.3g}); give poses as [R t], row by row"
        )
    return np.hstack([matrices[:, :3, 3], Rotation.from_matrix(R).as_quat()])


def _from_text(path: Path) -> PoseTable:
    with opened(path) as file:
        size = file.seek(0, 2)
    if size > MAX_TEXT_BYTES:
        raise DataError(f"{path}: {size} bytes of text are no pose file; give another with --groundtruth FILE")
    headers, rows, lines = _rows(path)
    if not rows:
        raise DataError(f"{path}: holds no poses, lines {' '.join(TUM_LAYOUT)} are expected; give another file")
    num_columns = len(rows[0])
    header = next((each for each in reversed(headers) if _named(each, num_columns)), [])
    names = _named(header, num_columns)
    if names is None and num_columns == 12:
        matrices, place = np.array(rows).reshape(-1, 3, 4), _line_of(path, lines)
        return PoseTable("KITTI", np.empty(0), None, poses_from_matrices(matrices, place), False, place)
    if names is None and num_columns != len(TUM_LAYOUT):
        raise DataError(
            f"{path}, line {lines[0]}: {num_columns} columns where {len(TUM_LAYOUT)} are expected "
            f"({' '.join(TUM_LAYOUT)}), 12 (KITTI), or a header that names them; correct the file"
        )
    names, form = (
        ({name: index for index, name in enumerate(TUM_LAYOUT)}, "TUM") if names is None else (names, "named columns")
    )
    table = np.array(rows, np.float64)
    poses = table[:, [names[key] for key in TUM_LAYOUT[1:]]]
    euroc = "ns" if any("p_rs_r_x" in word for word in header) else None  # its header names no unit
    unit = (_unit_of(header[names["t"]]) or euroc) if header else None
    return PoseTable(
        form, table[:, names["t"]], unit, _unit_quaternions(poses, path, lines), False, _line_of(path, lines)
    )


def _rows(path: Path) -> tuple[list[list[str]], list[list[float]], list[int]]:
    """Words of the lines that may be headers, numbers of the rows, and the rows' line numbers."""
    headers: list[list[str]] = []
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = [word.strip() for word in (line.split(",") if "," in line else line.split())]
        if not line.strip():
            continue
        if line.lstrip().startswith(("#", "%")) or (not rows and not headers and not _is_number(words[0])):
            headers += [] if rows else [_header_words(line)]
            continue
        if rows and len(words) != len(rows[0]):
            raise DataError(
                f"{path}, line {number}: {len(words)} columns where {len(rows[0])} are expected; correct the line"
            )
        rows.append([_number(f"{path}, line {number}", column, word) for column, word in enumerate(words)])
        lines.append(number)
    return headers, rows, lines


def _header_words(line: str) -> list[str]:
    text = line.strip().lstrip("#% ").lower()
    return [word.strip() for word in text.split(",")] if "," in text else text.split()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _number(place: str, column: int, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise DataError(f"{place}: column {column + 1} is {word!r}, not a number; correct or remove the line") from None
    if not abs(value) < LARGEST:
        raise DataError(f"{place}: column {column + 1} is {word!r}, not finite; correct or remove the line")
    return value


def _named(header: list[str], num_columns: int) -> dict[str, int] | None:
    """Column of t, px, ..., qw by the header's words; None unless it names them all."""
    if len(header) != num_columns:
        return None
    found: dict[str, int] = {}
    for index, word in enumerate(header):
        name = re.sub(r"[\[(].*", "", word).strip()
        time, position, rotation = (pattern.fullmatch(name) for pattern in (_TIME, _POSITION, _QUATERNION))
        key = f"q{rotation[1]}" if rotation else f"p{position[1]}" if position else "t" if time else None
        if key is not None:
            found.setdefault(key, index)
    return found if all(key in found for key in TUM_LAYOUT) else None


def _unit_of(word: str) -> str | None:
    """The unit in a name such as "timestamp [ns]" or "t_us"."""
    bracket = re.search(r"[\[(]\s*(\w+)\s*[\])]", word)
    name = _TIME.fullmatch(re.sub(r"[\[(].*", "", word).strip())
    unit = bracket[1] if bracket else name[1] if name else None
    return _UNITS.get(unit or "")


def _unit_quaternions(poses: np.ndarray, path: Path, lines: list[int]) -> np.ndarray:
    norm = np.linalg.norm(poses[:, 3:], axis=1)
    wrong = np.abs(norm - 1) > MAX_NORM_ERROR
    if not wrong.any():
        return np.hstack([poses[:, :3], poses[:, 3:] / norm[:, None]])
    index = int(np.argmax(wrong))
    before = np.abs(np.linalg.norm(poses[:, :4], axis=1) - 1) < MAX_NORM_ERROR
    hint = "; columns 2 to 5 have norm 1: the quaternion stands before the position" if before.all() else ""
    raise DataError(
        f"{path}, line {lines[index]}: quaternion has norm {norm[index]:.6g} instead of 1{hint}; columns must be "
        f"{' '.join(TUM_LAYOUT)}, or named by a header"
    )


def _line_of(path: Path, lines: list[int]) -> Callable[[int], str]:
    return lambda index: f"{path}, line {lines[index]}"


def _from_npz(path: Path) -> PoseTable:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except (*DAMAGED, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"{path}: not a readable NPZ file ({reason}); write it with numpy.savez") from None
    time = next((name for name in arrays if _TIME.fullmatch(name.lower())), None)
    if time is None:
        raise DataError(f"{path}: no array t_us or t with the times; there are {', '.join(arrays) or 'none'}; add it")
    unit = _unit_of(time.lower()) or ("us" if np.issubdtype(arrays[time].dtype, np.integer) else None)
    place = _row_of(path)
    poses = _npz_poses(path, arrays, place)
    return PoseTable("NPZ", _times(path, arrays[time], len(poses)), unit, poses, False, place)


def _npz_poses(path: Path, arrays: Mapping[str, np.ndarray], place: Callable[[int], str]) -> np.ndarray:
    """Poses of the arrays T_world_cam or poses, as matrices or as (N, 7)."""
    name = next((name for name in ("T_world_cam", "poses", "pose") if name in arrays), None)
    shape = () if name is None else arrays[name].shape
    if name is not None and np.issubdtype(arrays[name].dtype, np.number):
        values = arrays[name].astype(np.float64)
        if values.ndim == 3 and shape[1:] in ((3, 4), (4, 4)):
            return poses_from_matrices(values, place)
        if values.ndim == 2 and shape[1] == 7 and _usable(values).all():
            return _unit_quaternions(values, path, list(range(len(values))))
    raise DataError(
        f"{path}: array {name or 'T_world_cam'} has shape {shape}; (N, 4, 4) matrices or (N, 7) finite numbers "
        f"{' '.join(TUM_LAYOUT[1:])} are expected; there are {', '.join(arrays)}"
    )


def _from_hdf5(path: Path) -> PoseTable:
    """MVSEC: davis/left/pose and pose_ts in seconds. M3ED (build_system/lidar_depth/gt2evo.py): Cn_T_C0, ts in us."""
    forms = (("MVSEC", "davis/left/pose", "davis/left/pose_ts", "s", False), ("M3ED", "Cn_T_C0", "ts", "us", True))
    try:
        with h5py.File(path, "r") as file:
            for form, name, time, unit, inverse in forms:
                if name in file and time in file:
                    shape, place = file[name].shape, _row_of(path)
                    if len(shape) != 3 or shape[1:] != (4, 4) or shape[0] > MAX_POSES:
                        raise DataError(f"{path}: {name} has shape {shape}, (N, 4, 4) is expected; copy it again")
                    matrices, times = file[name][:], file[time][: shape[0] + 1]
                    poses = poses_from_matrices(matrices, place)
                    return PoseTable(form, _times(path, times, len(poses)), unit, poses, inverse, place)
            there = ", ".join(list(file)[:6])
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"{path}: poses cannot be read ({reason}); copy it again") from None
    raise DataError(f"{path}: no poses as in MVSEC or M3ED; there are {there or 'no groups'}; give another file")


def _usable(values: np.ndarray) -> np.ndarray:
    return np.abs(values) < LARGEST  # false for NaN


def _row_of(path: Path) -> Callable[[int], str]:
    return lambda index: f"{path}, pose {index}"


def _times(path: Path, times: np.ndarray, num_poses: int) -> np.ndarray:
    if times.shape != (num_poses,) or not np.issubdtype(times.dtype, np.number):
        raise DataError(f"{path}: times of shape {times.shape} for {num_poses} poses; one time per pose is needed")
    values = times.astype(np.float64)
    if not _usable(values).all():
        raise DataError(f"{path}: time of pose {int(np.argmax(~_usable(values)))} is not finite; remove the pose")
    return values
