"""Maps of a free motion on disk: what a later run needs to find the camera in them."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evslam.errors import ConfigError, DataError
from evslam.geometry.canvas import Canvas
from evslam.multiview.anchored import AnchoredPoses
from evslam.multiview.edges import EdgePoints
from evslam.multiview.keyframe import Keyframe
from evslam.multiview.sparse_map import SparseMap
from evslam.state import from_state, to_state

MAP_FILE = "map.pt"
_FORMAT, _VERSION = "evslam map", 2


def save_map(map_: SparseMap, canvas: Canvas, path: Path) -> None:
    """Write a map in one step: keyframes with what their places look like and their edges, but without edge images, and
    landmarks."""
    small = copy.copy(map_)
    small.anchored = AnchoredPoses.none()
    small.keyframes = [copy.copy(keyframe) for keyframe in map_.keyframes]
    for keyframe in small.keyframes:
        keyframe.image = None
    content = {"format": _FORMAT, "version": _VERSION, "canvas": _lens(canvas), "map": to_state(small)}
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    os.replace(part, path)


def load_map(path: Path, canvas: Canvas) -> SparseMap:
    """Read what `save_map` wrote; no track is known in it.

    Args:
        path: the file, or the folder of the run that wrote it.
        canvas: of the camera that is to be found in it.

    Raises:
        DataError: it is missing, no map, cut off, damaged, or of another version.
        ConfigError: it was made with another camera or canvas.
    """
    path = path / MAP_FILE if path.is_dir() else path
    content = _read(path)
    if content.get("version") != _VERSION:
        raise DataError(
            f"{path}: a map of version {content.get('version')}, this evslam reads {_VERSION}; make the map again"
        )
    try:
        known, map_ = content["canvas"], from_state(content["map"], (SparseMap, Keyframe, EdgePoints, AnchoredPoses))
        _check(map_)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: a damaged map ({' '.join(str(error).split())[:80]}); make the map again") from error
    if known != _lens(canvas):
        raise ConfigError(
            f"{path}: made with a canvas of {known}, this camera's is {_lens(canvas)}; use the same camera and frame.*"
        )
    map_.give()
    return map_


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such map; give a folder of a run in mode 6dof, or its {MAP_FILE}")
    try:
        content = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"{path}: cannot be read as a map ({reason}); give the {MAP_FILE} of a run") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"{path}: not a map; give the {MAP_FILE} of a run in mode 6dof")
    return content


def _lens(canvas: Canvas) -> dict[str, float]:
    """What pixels and bearings of a map mean."""
    x, y = canvas.centre
    lens = {"focal": canvas.focal, "x": x, "y": y, "width": canvas.width, "height": canvas.height}
    return {name: round(float(value), 6) for name, value in lens.items()}


def _check(map_: SparseMap) -> None:
    """ValueError unless all parts fit together."""
    count = len(map_.points)
    if map_.points.shape != (count, 3) or map_.spread.shape != (count, 3) or len(map_.alive) != count:
        raise ValueError("landmarks of different numbers")
    if not map_.keyframes:
        raise ValueError("no keyframes")
    for keyframe in map_.keyframes:
        lengths = {len(keyframe.ids), len(keyframe.bearing), len(keyframe.landmark), len(keyframe.usable)}
        if len(lengths) != 1 or keyframe.T_cam_world.shape != (4, 4) or keyframe.landmark.max(initial=-1) >= count:
            raise ValueError("a keyframe whose parts do not fit together")
        if not (np.isfinite(keyframe.T_cam_world).all() and np.isfinite(keyframe.bearing).all()):
            raise ValueError("a keyframe that is nowhere")
