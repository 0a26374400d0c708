"""3-D pictures: geometry, view, offscreen rendering, and what is said where no window can be had."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evslam.errors import ConfigError, DataError
from evslam.io.results import write_ply
from evslam.io.trajectory import save_trajectory
from evslam.types import Picture, PointMap, TrackingState, TrackResult, Trajectory
from evslam.viz import scene as scene_module
from evslam.viz.open3d_import import import_open3d
from evslam.viz.scene import build_scene, render_scene, show_scene
from evslam.viz.scene_data import Segments, View, dashed, frusta, polyline
from evslam.viz.viewer import LiveViewer, StubViewer, annotated

SIZE = (320, 240)


def walk(num_poses: int = 60) -> Trajectory:
    t = np.linspace(0, 2, num_poses)
    turn = Rotation.from_rotvec(np.stack([0 * t, 0.4 * t, 0 * t], axis=1))
    return Trajectory((t * 1e6).astype(np.int64), np.hstack([np.stack([t, 0 * t, 0.1 * t**2], 1), turn.as_quat()]))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    save_trajectory(walk(), tmp_path / "trajectory.txt")
    save_trajectory(walk(), tmp_path / "groundtruth_aligned.txt")
    points = np.random.default_rng(0).uniform([-1, -1, 2], [3, 1, 4], (500, 3))
    write_ply(PointMap(points, np.ones(500)), tmp_path / "map.ply")
    (tmp_path / "metrics.json").write_text(json.dumps({"mode": "6dof"}))
    return tmp_path


def is_drawn(png: Path) -> bool:
    """White background, grey points, and colour from the trajectory."""
    pixels = iio.imread(png)[..., :3].astype(int)
    colour = np.ptp(pixels, axis=-1)
    return pixels.shape == (SIZE[1], SIZE[0], 3) and (pixels[0, 0] == 255).all() and int((colour > 80).sum()) > 100


def test_a_run_is_rendered_without_display(run_dir: Path) -> None:
    assert is_drawn(render_scene(run_dir, run_dir / "out" / "scene.png", SIZE))


def test_rotation_shows_directions_on_the_sphere(run_dir: Path) -> None:
    (run_dir / "metrics.json").write_text(json.dumps({"mode": "rotation"}))
    scene = build_scene(run_dir)
    looks = scene.lines[1]
    np.testing.assert_allclose(np.linalg.norm(looks.start, axis=1), 1.02, atol=1e-9)
    np.testing.assert_allclose(looks.start[0], [0, 0, 1.02], atol=1e-9)
    assert is_drawn(render_scene(run_dir, run_dir / "scene.png", SIZE))


def test_matplotlib_takes_over_without_open3d(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ConfigError("no OpenGL context")

    monkeypatch.setattr(scene_module, "import_open3d", fail)
    with caplog.at_level(logging.WARNING):
        assert is_drawn(render_scene(run_dir, run_dir / "scene.png", SIZE))
    assert "matplotlib draws the scene instead: no OpenGL context" in caplog.text


def test_no_display_is_said_with_a_remedy(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="--save PNG"):
        show_scene(run_dir)
    with pytest.raises(ConfigError, match="--view"):
        LiveViewer()


def test_a_folder_without_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"trajectory\.txt does not exist"):
        render_scene(tmp_path, tmp_path / "scene.png")


def test_view_fits_all_points_tightly() -> None:
    points = np.random.default_rng(2).standard_normal((200, 3))
    view = View.fitting(points, toward_eye=np.array([1.0, -2.0, 0.5]), up=np.array([0.0, 0.0, 1.0]))
    matrix = view.world_to_view()
    seen = points @ matrix[:3, :3].T + matrix[:3, 3]
    pixels = np.abs(seen[:, :2] / seen[:, 2:]) * view.focal_length(640, 480) / [320, 240]
    assert 0.8 < pixels.max() <= 1.0
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)


def test_lines_break_at_pauses_and_dashes_leave_every_second_stretch() -> None:
    points, colors = np.stack([np.arange(6.0), np.zeros(6), np.zeros(6)], 1), np.zeros((6, 3))
    t_us = np.array([0, 10_000, 20_000, 900_000, 910_000, 920_000])
    line = polyline(points, colors, t_us)
    assert line.start[:, 0].tolist() == [0, 1, 3, 4]
    segments = Segments(points[:-1], points[1:], colors[:-1])
    assert dashed(segments, 2.5).start[:, 0].tolist() == [0, 1, 4]


def test_frustum_opens_along_the_optical_axis() -> None:
    pose = Trajectory(np.array([0]), np.array([[1.0, 2.0, 3.0, 0, 0, 0, 1]]))
    segments = frusta(pose, np.zeros((1, 3)), depth=0.5)
    assert len(segments.start) == 8
    np.testing.assert_allclose(segments.stop[:, 2], 3.5)
    np.testing.assert_allclose(segments.start[:4], [[1.0, 2.0, 3.0]] * 4)


def result_at(t_us: int, pose: np.ndarray) -> TrackResult:
    zeros = torch.zeros(6, 6)
    return TrackResult(t_us, torch.tensor(pose), zeros[0], TrackingState.TRACKING, 1.0, 1, 1, zeros)


def shown(keyframes: Trajectory | None = None) -> Picture:
    image = np.zeros((18, 24))
    image[:, 12] = 1.0
    points = np.random.default_rng(0).uniform([-1, -1, 2], [3, 1, 4], (500, 3))
    return Picture(image, np.array([[4.0, 5.0], [20.0, 9.0]]), np.array([1.0, 3.0]), points, keyframes)


def test_live_viewer_draws_offscreen() -> None:
    try:
        viewer = LiveViewer(visible=False, redraw_s=0.0)
    except ConfigError as error:
        pytest.skip(f"Open3D cannot render here: {error}")
    for t_us, pose in zip(walk().t_us[:30], walk().poses[:30], strict=True):
        viewer.update(result_at(int(t_us), pose), lambda: shown(walk()), 1.5)
    for window, least in ((viewer._scene, 1000), (viewer._events, 1000)):
        pixels = np.asarray(window.capture_screen_float_buffer(True))
        assert int((pixels.min(axis=-1) < 0.5).sum()) > least
    assert np.asarray(viewer._events.capture_screen_float_buffer(True)).shape[:2] == (18 * 27 + 30, 24 * 27)
    turned = replace(shown(), image=np.zeros((20, 20)))
    viewer.update(result_at(10**7, walk().poses[30]), lambda: turned, 1.5)
    assert np.asarray(viewer._events.capture_screen_float_buffer(True)).shape[:2] == (20 * 32 + 30, 20 * 32)
    viewer.close()


def test_pictures_are_made_only_when_they_are_drawn() -> None:
    def fail() -> Picture:
        raise AssertionError("made in vain")

    StubViewer().update(result_at(0, walk().poses[0]), fail, 1.0)
    try:
        viewer = LiveViewer(visible=False, redraw_s=60.0)
    except ConfigError as error:
        pytest.skip(f"Open3D cannot render here: {error}")
    viewer.update(result_at(0, walk().poses[0]), shown, 1.0)
    viewer.update(result_at(1, walk().poses[1]), fail, 1.0)
    viewer.close()


def test_events_are_annotated_with_points_by_depth_and_a_status() -> None:
    pixels = annotated(shown(), "tracking")
    zoom = 27
    near, far = pixels[round(5.5 * zoom), round(4.5 * zoom)], pixels[round(9.5 * zoom), round(20.5 * zoom)]
    assert near[0] > 200 > 100 > near[2]  # yellow
    assert far[2] > far[1] + 50  # violet
    assert (pixels[: 18 * zoom, 12 * zoom : 13 * zoom] == 0).mean() > 0.95
    assert (pixels[18 * zoom :].min(axis=2) < 100).sum() > 100  # the text


def test_open3d_is_not_loaded_before_it_is_needed() -> None:
    assert not hasattr(scene_module, "open3d")
    assert hasattr(import_open3d(), "visualization")
