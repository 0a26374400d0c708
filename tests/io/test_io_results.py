"""Files of a run's folder, and the care taken of folders."""

import json
from pathlib import Path

import numpy as np
import pytest

from evslam.errors import ConfigError, DataError
from evslam.io.results import RUN_FILES, prepare_run_dir, read_metrics, read_ply, write_metrics, write_ply
from evslam.types import PointMap


def test_metrics_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics({"old": 1}, path)
    metrics = {
        "events": np.int64(5), "rmse": np.float32(0.5), "bad": float("nan"), "nested": {"v": [np.inf, 1.5, None]},
        "array": np.array([1.0, np.nan]), "status": "done", "ok": np.True_, "out": tmp_path,
    }  # fmt: skip
    write_metrics(metrics, path)
    assert read_metrics(path) == {
        "events": 5, "rmse": 0.5, "bad": None, "nested": {"v": [None, 1.5, None]}, "array": [1.0, None],
        "status": "done", "ok": True, "out": str(tmp_path),
    }  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_failed_write_keeps_the_old_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics({"events": 1}, path)
    with pytest.raises(TypeError):
        write_metrics({"events": object()}, path)
    assert json.loads(path.read_text()) == {"events": 1}


@pytest.mark.parametrize(
    ("content", "fact"),
    [('{\n"events": ', "line 2: not valid JSON"), ("[]", "holds a list where an object is expected")],
)
def test_damaged_metrics_are_refused(tmp_path: Path, content: str, fact: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=f"metrics.json.*{fact}.*; run again"):
        read_metrics(tmp_path / "metrics.json")
    with pytest.raises(DataError, match=r"none.json: no such file"):
        read_metrics(tmp_path / "none.json")


def test_ply_round_trip(tmp_path: Path) -> None:
    points = np.random.default_rng(2).normal(size=(50, 3))
    confidence = np.linspace(0, 1, 50)
    write_ply(PointMap(points, confidence), tmp_path / "map.ply")
    back = read_ply(tmp_path / "map.ply")
    np.testing.assert_array_equal(back.points, points.astype(np.float32))
    np.testing.assert_allclose(back.confidence, confidence, atol=0.5 / 255)


def test_ply_bytes(tmp_path: Path) -> None:
    write_ply(PointMap(np.array([[1.0, -2.0, 0.5]]), np.array([1.0])), tmp_path / "map.ply")
    header, body = (tmp_path / "map.ply").read_bytes().split(b"end_header\n")
    assert header == (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        b"property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
    )
    assert body == np.array([1, -2, 0.5], "<f4").tobytes() + bytes([255, 153, 0])


def test_empty_map(tmp_path: Path) -> None:
    write_ply(PointMap(np.empty((0, 3)), np.empty(0)), tmp_path / "map.ply")
    assert read_ply(tmp_path / "map.ply").points.shape == (0, 3)


def test_damaged_ply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.ply"
    write_ply(PointMap(np.zeros((4, 3)), np.zeros(4)), path)
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.raises(DataError, match=r"map.ply: 53 bytes of points where 4 points take 60; the file is cut off"):
        read_ply(path)
    for other in (b"", b"solid\n", content.replace(b"float z", b"float q"), content.replace(b"little", b"big")):
        path.write_bytes(other)
        with pytest.raises(DataError, match=r"map.ply: not a binary little endian PLY with x y z red green blue; give"):
            read_ply(path)


def earlier_run(out: Path) -> Path:
    (out / "plots").mkdir(parents=True)
    (out / "images").mkdir()
    for name in (*RUN_FILES, "plots/xy.png", "images/a.png"):
        (out / name).write_text("x")
    return out


def test_new_and_empty_folders_are_ready(tmp_path: Path) -> None:
    assert prepare_run_dir(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    for flags in ({}, {"overwrite": True}, {"resume": True}):
        prepare_run_dir(tmp_path / "a" / "b", **flags)


def test_earlier_results_need_a_flag(tmp_path: Path) -> None:
    out = earlier_run(tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        prepare_run_dir(out)
    assert (
        str(caught.value) == f"{out}: holds the results of an earlier run; give --overwrite, --resume or another --out"
    )
    prepare_run_dir(out, resume=True)
    assert (out / "trajectory.txt").exists()
    with pytest.raises(ConfigError, match="--overwrite and --resume exclude each other"):
        prepare_run_dir(out, overwrite=True, resume=True)


def test_overwrite_removes_results_and_nothing_else(tmp_path: Path) -> None:
    out = earlier_run(tmp_path / "run")
    (out / "notes.md").write_text("mine")
    (out / "images" / "raw.tiff").write_text("mine")
    prepare_run_dir(out, overwrite=True)
    left = sorted(str(file.relative_to(out)) for file in out.rglob("*"))
    assert left == ["images", "images/raw.tiff", "notes.md"]


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_folders_of_others_are_refused(tmp_path: Path, flags: dict[str, bool]) -> None:
    (tmp_path / "trajectory.txt").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        prepare_run_dir(tmp_path, **flags)
    assert f"{tmp_path}: holds files that no run wrote (trajectory.txt); give another --out" in str(caught.value)
    assert (tmp_path / "trajectory.txt").read_text() == "mine"


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(ConfigError, match="run: is a file where a folder for results is expected; give another --out"):
        prepare_run_dir(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"sub: cannot be used for results .*; give another --out"):
        prepare_run_dir(tmp_path / "run" / "sub")
