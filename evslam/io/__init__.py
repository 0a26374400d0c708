"""Reading and writing: recordings of every known format, calibrations, trajectories, results."""

from evslam.io.calibration import load_calibration, save_calibration
from evslam.io.convert import convert_recording, copy_events
from evslam.io.events import ReadCounts
from evslam.io.groundtruth import load_groundtruth
from evslam.io.imu import load_imu, save_imu
from evslam.io.reader import EventReader, Frame
from evslam.io.recording import Recording, open_recording, write_recording
from evslam.io.results import prepare_run_dir, read_metrics, read_ply, write_metrics, write_ply
from evslam.io.trajectory import TrajectoryWriter, load_trajectory, save_trajectory

__all__ = [
    "EventReader", "Frame", "ReadCounts", "Recording", "TrajectoryWriter", "convert_recording", "copy_events",
    "load_calibration", "load_groundtruth", "load_imu", "load_trajectory", "open_recording", "prepare_run_dir",
    "read_metrics", "read_ply",
    "save_calibration", "save_imu", "save_trajectory", "write_metrics", "write_ply", "write_recording",
]  # fmt: skip
