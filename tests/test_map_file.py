"""Map files: what comes back, and what is said of files that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import map_scenes as scene
import numpy as np
import pytest
import torch

from evslam.errors import ConfigError, DataError
from evslam.geometry.canvas import Canvas
from evslam.map_file import MAP_FILE, load_map, save_map
from evslam.multiview.edges import EdgePoints
from evslam.multiview.sparse_map import SparseMap
from evslam.types import SensorSize


def a_map() -> SparseMap:
    map_ = scene.true_map(5, scene.cloud())
    keyframe = map_.keyframes[2]
    keyframe.signed = np.arange(scene.CANVAS.height * scene.CANVAS.width, dtype=np.uint8).reshape(
        scene.CANVAS.height, -1
    )
    keyframe.edges = EdgePoints(np.full((3, 2), 50.0), np.ones(3), np.full(3, 0.1), np.zeros((3, 2)), np.ones(3))
    map_.remove_landmarks(np.array([4]))
    map_.revisits.append((0, 4))
    return map_


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_map(a_map(), scene.CANVAS, tmp_path / MAP_FILE)
    return tmp_path / MAP_FILE


def test_a_map_comes_back_without_its_tracks(path: Path) -> None:
    saved, loaded = a_map(), load_map(path.parent, scene.CANVAS)
    for name in ("points", "alive", "firm"):
        assert np.array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.revisits == [(0, 4)]
    assert loaded.num_given == 5
    assert (loaded.landmarks(np.arange(200)) == -1).all()
    for one, other in zip(loaded.keyframes, saved.keyframes, strict=True):
        assert one.t_us == other.t_us
        for name in ("T_cam_world", "ids", "bearing", "landmark", "usable"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert loaded.keyframes[2].edges is not None
    assert np.array_equal(loaded.keyframes[2].edges.pixel, np.full((3, 2), 50.0))
    assert np.array_equal(loaded.keyframes[2].signed, saved.keyframes[2].signed)


def test_a_loaded_map_can_be_changed_and_saved_again(path: Path) -> None:
    loaded = load_map(path, scene.CANVAS)
    loaded.points += 1.0
    loaded.keyframes[0].T_cam_world[0, 3] += 1.0
    save_map(loaded, scene.CANVAS, path)
    assert np.array_equal(load_map(path, scene.CANVAS).points, loaded.points)


def test_another_camera_cannot_use_it(path: Path) -> None:
    camera = replace(scene.CAMERA, fx=300.0, fy=300.0, size=SensorSize(180, 240))
    with pytest.raises(ConfigError, match="use the same camera"):
        load_map(path, Canvas.of(camera, scene.CONFIG.frame.canvas_width, scene.CONFIG.frame.canvas_margin))


def test_what_is_no_map_is_told(tmp_path: Path, path: Path) -> None:
    whole = path.read_bytes()
    with pytest.raises(DataError, match="no such map"):
        load_map(tmp_path / "elsewhere", scene.CANVAS)
    for number, content in enumerate((b"", b"hello", whole[: len(whole) // 2], whole[:-100])):
        broken = tmp_path / f"broken{number}.pt"
        broken.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a map"):
            load_map(broken, scene.CANVAS)
    torch.save({"slam": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="not a map"):
        load_map(tmp_path / "checkpoint.pt", scene.CANVAS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(version=3), "version 3"),
        (lambda content: content.pop("canvas"), "damaged"),
        (lambda content: content["map"].update({"class": "Config"}), "damaged"),
        (lambda content: content["map"]["fields"].pop("points"), "damaged"),
        (lambda content: content["map"]["fields"].update(points=torch.zeros(3, 3)), "damaged"),
        (lambda content: content["map"]["fields"]["keyframes"]["items"].clear(), "damaged"),
        (lambda content: content["map"]["fields"]["keyframes"]["items"][0]["fields"].pop("bearing"), "damaged"),
    ],
)
def test_damage_is_told(path: Path, change: object, words: str) -> None:
    content = torch.load(path, weights_only=True)
    change(content)  # type: ignore[operator]
    torch.save(content, path)
    with pytest.raises(DataError, match=words):
        load_map(path, scene.CANVAS)
