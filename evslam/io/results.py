"""The files of a run's folder: metrics, point map, and the folder itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from evslam.errors import ConfigError, DataError
from evslam.io.files import opened, plain, read_text
from evslam.types import PointMap

METRICS_FILE = "metrics.json"
MARKER_FILES = (METRICS_FILE, "config.yaml", "run.log")  # one of them shows that a run wrote the folder
RUN_FILES = (
    *MARKER_FILES, "trajectory.txt", "trajectory_online.txt", "keyframes.txt", "map.ply", "map.pt",
    "panorama.png", "panorama.npy",
    "versions.txt", "batches.csv", "checkpoint.pt",
    "evaluation.json", "evaluation.csv", "groundtruth_aligned.txt",
)  # fmt: skip
RUN_FOLDERS = {"plots": ("*.png", "*.pdf", "*.svg"), "images": ("*.png",)}

_PLY_PROPERTIES = {"x": "float", "y": "float", "z": "float", "red": "uchar", "green": "uchar", "blue": "uchar"}
_PLY_VERTEX = np.dtype([(name, {"float": "<f4", "uchar": "u1"}[kind]) for name, kind in _PLY_PROPERTIES.items()])


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Writes a JSON file in one step, so that a reader never meets half of it; NaN and infinity become null."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(plain(metrics), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads what `write_metrics` wrote.

    Raises:
        DataError: the file is missing or is no JSON object.
    """
    try:
        metrics = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); run again") from None
    if not isinstance(metrics, dict):
        raise DataError(f"{path}: holds a {type(metrics).__name__} where an object is expected; run again")
    return metrics


def write_ply(point_map: PointMap, path: Path) -> None:
    """Writes a binary PLY point cloud; colour tells confidence, from blue (0) to orange (red = 255 * confidence)."""
    vertices = np.empty(len(point_map.points), _PLY_VERTEX)
    for column, name in enumerate("xyz"):
        vertices[name] = point_map.points[:, column]
    level = np.clip(np.nan_to_num(point_map.confidence), 0, 1)
    for name, colour in (("red", level), ("green", 0.3 + 0.3 * level), ("blue", 1 - level)):
        vertices[name] = np.rint(255 * colour)
    properties = [f"property {kind} {name}" for name, kind in _PLY_PROPERTIES.items()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *properties, "end_header"]
    Path(path).write_bytes("".join(line + "\n" for line in header).encode("ascii") + vertices.tobytes())


def read_ply(path: Path) -> PointMap:
    """Reads what `write_ply` wrote; confidence comes back in steps of 1 / 255.

    Raises:
        DataError: the file is missing, cut off, or has another layout.
    """
    with opened(path) as file:
        content = file.read()
    header, end, body = content.partition(b"end_header\n")
    lines = header.decode("ascii", "replace").split("\n")
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    counts = [line.split()[-1] for line in lines if line.startswith("element vertex")]
    expected = [[kind, name] for name, kind in _PLY_PROPERTIES.items()]
    binary = "format binary_little_endian 1.0" in lines
    if (
        not end
        or lines[0] != "ply"
        or properties != expected
        or not binary
        or not counts[:1]
        or not counts[0].isdigit()
    ):
        raise DataError(f"{path}: not a binary little endian PLY with x y z red green blue; give the map.ply of a run")
    num_points = int(counts[0])
    if len(body) != num_points * _PLY_VERTEX.itemsize:
        raise DataError(
            f"{path}: {len(body)} bytes of points where {num_points} points take {num_points * _PLY_VERTEX.itemsize}; "
            f"the file is cut off, run again"
        )
    vertices = np.frombuffer(body, _PLY_VERTEX)
    points = np.stack([vertices[name].astype(np.float64) for name in "xyz"], axis=-1)
    return PointMap(points, vertices["red"] / 255.0)


def prepare_run_dir(out: Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Makes a folder ready for the results of a run.

    Args:
        out: the folder; is created.
        overwrite: remove what an earlier run wrote there, and nothing else.
        resume: keep what an earlier run wrote there, to go on with it.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder is not empty and neither flag is given, no run wrote it, or it cannot be created.
    """
    out = Path(out)
    if overwrite and resume:
        raise ConfigError(f"{out}: --overwrite and --resume exclude each other; give one of them")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file where a folder for results is expected; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = sorted(entry.name for entry in out.iterdir())
    except OSError as error:
        raise ConfigError(f"{out}: cannot be used for results ({error.strerror}); give another --out") from None
    if not names:
        return out
    if not set(MARKER_FILES) & set(names):
        raise ConfigError(
            f"{out}: holds files that no run wrote ({', '.join(names[:3])}); give another --out or empty it"
        )
    if not (overwrite or resume):
        raise ConfigError(f"{out}: holds the results of an earlier run; give --overwrite, --resume or another --out")
    if overwrite:
        _remove_results(out)
    return out


def _remove_results(out: Path) -> None:
    """Removes the files that a run writes, and its subfolders where nothing else is left in them."""
    for name in RUN_FILES:
        (out / name).unlink(missing_ok=True)
    for name, patterns in RUN_FOLDERS.items():
        folder = out / name
        if folder.is_dir() and not folder.is_symlink():
            for pattern in patterns:
                for file in folder.glob(pattern):
                    file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
