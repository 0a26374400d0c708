"""Plots and images are written, and show what they were given."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from evslam.errors import DataError
from evslam.types import Events, SensorSize, Trajectory
from evslam.viz.batch_log import BatchLog, load_batch_log
from evslam.viz.images import polarity_image, save_compensation, save_panorama, to_grey, to_signed_colour
from evslam.viz.plots import plot_errors, plot_run, pose_figure, state_figure


def spiral(num_poses: int = 100) -> Trajectory:
    t = np.linspace(0, 3, num_poses)
    half = 0.2 * t
    poses = np.stack([np.cos(t), np.sin(t), 0.1 * t, 0 * t, 0 * t, np.sin(half), np.cos(half)], axis=1)
    return Trajectory((t * 1e6).astype(np.int64), poses)


def num_pixels_of(path: Path, colour: str) -> int:
    pixels = iio.imread(path)[..., :3]
    return int(np.count_nonzero(np.all(np.abs(pixels / 255.0 - to_rgb(colour)) < 0.02, axis=-1)))


def test_plots_of_a_run_are_drawn(tmp_path: Path) -> None:
    trajectory = spiral()
    state = np.where(np.arange(100) < 20, "starting", "tracking")
    twist = np.random.default_rng(0).standard_normal((100, 6))
    batches = BatchLog(trajectory.t_us, twist, state, np.full(100, 1.5), np.full(100, 9000))
    saved = plot_run(tmp_path, trajectory, batches)
    names = {"trajectory", "pose", "angular_velocity", "state"}
    assert {path.name for path in saved} == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    assert num_pixels_of(tmp_path / "plots/trajectory.png", "#0072B2") > 300
    assert num_pixels_of(tmp_path / "plots/angular_velocity.png", "#D55E00") > 300
    assert (tmp_path / "plots/pose.pdf").read_bytes().startswith(b"%PDF")


def test_states_cover_the_whole_time_even_those_of_a_single_batch() -> None:
    t_us = spiral().t_us
    state = np.where(np.arange(100) < 20, "starting", "tracking").astype(object)
    state[50] = "sparse"
    batches = BatchLog(t_us, np.zeros((100, 6)), state, np.full(100, 0.9), np.full(100, 9000))
    axes = state_figure(batches, moves=True).axes[0]
    spans = [path.get_extents() for each in axes.collections for path in each.get_paths()]
    assert len(spans) == 4
    step = float(np.median(np.diff(t_us))) * 1e-6
    assert sum(span.width for span in spans) == pytest.approx((t_us[-1] - t_us[0]) * 1e-6 + step, rel=1e-3)
    assert min(span.width for span in spans) == pytest.approx(step, rel=1e-3)
    assert axes.get_ylabel() == "points that agree"


def test_errors_are_drawn_with_and_without_positions(tmp_path: Path) -> None:
    trajectory, errors = spiral(), np.linspace(0, 0.1, 100)
    assert len(plot_errors(tmp_path, trajectory, trajectory, (None, errors))) == 4
    assert len(plot_errors(tmp_path, trajectory, trajectory, (errors, errors))) == 6
    assert num_pixels_of(tmp_path / "plots/error.png", "#D55E00") > 300
    assert num_pixels_of(tmp_path / "plots/trajectory.png", "#AAAAAA") > 300


def test_lines_are_interrupted_at_pauses() -> None:
    trajectory = spiral()
    keep = (np.arange(100) < 40) | (np.arange(100) > 60)
    line = pose_figure(Trajectory(trajectory.t_us[keep], trajectory.poses[keep])).axes[0].lines[0]
    assert np.count_nonzero(np.isnan(line.get_ydata())) == 1


def test_rotation_alone_has_no_position_plot(tmp_path: Path) -> None:
    turning = Trajectory(spiral().t_us, np.hstack([np.zeros((100, 3)), spiral().quaternion]))
    assert {path.stem for path in plot_run(tmp_path, turning)} == {"pose"}
    figure = pose_figure(turning)
    assert [axes.get_ylabel() for axes in figure.axes] == [f"rotation {name} [deg]" for name in "xyz"]
    assert figure.axes[2].lines[0].get_ydata()[-1] == pytest.approx(np.degrees(1.2))


def test_scaling_of_event_images() -> None:
    np.testing.assert_array_equal(to_grey(np.array([[0.0, 1.0, 2.0, 9.0]]), limit=2.0), [[255, 128, 0, 0]])
    np.testing.assert_array_equal(to_grey(np.zeros((2, 2))), 255)
    colour = to_signed_colour(np.array([[0.0, 1.0, -1.0]]), limit=1.0)
    np.testing.assert_array_equal(colour, [[[255, 255, 255], [0, 90, 181], [220, 50, 32]]])


def test_polarity_image_puts_x_in_columns() -> None:
    events = Events(
        np.arange(3), np.array([4, 4, 1], np.uint16), np.array([0, 0, 2], np.uint16), np.array([1, 1, 0], bool)
    )
    image = polarity_image(events, SensorSize(height=3, width=5))
    assert image.shape == (3, 5, 3)
    assert image[0, 4].tolist() == [0, 90, 181]
    assert image[2, 1].tolist() == [220, 50, 32]
    assert np.count_nonzero((image != 255).any(-1)) == 2


def test_compensation_shares_one_scale(tmp_path: Path) -> None:
    before, after = np.zeros((20, 30)), np.zeros((20, 30))
    before[:, 10:20], after[:, 15] = 1.0, 10.0
    pixels = iio.imread(save_compensation(before, after, tmp_path / "images/batch.png"))[..., :3].mean(-1)
    middle = pixels[pixels.shape[0] // 2]
    left, right = np.split(middle[10 : len(middle) // 2 * 2 - 10], 2)
    assert 200 < np.median(left[len(left) // 2 - 20 : len(left) // 2 + 20]) < 250
    assert right[20:-20].min() < 5


def test_panorama_keeps_its_size(tmp_path: Path) -> None:
    panorama = np.zeros((40, 80))
    panorama[10, 30] = 5.0
    pixels = iio.imread(save_panorama(panorama, tmp_path / "panorama.png"))
    assert pixels.shape == (40, 80)
    assert np.argwhere(pixels < 128).tolist() == [[10, 30]]


def test_damaged_batch_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_batch_log(tmp_path / "batches.csv")
    (tmp_path / "batches.csv").write_text("t_ref_us,vx\n1,2\n")
    with pytest.raises(DataError, match="not a table of batches"):
        load_batch_log(tmp_path / "batches.csv")
