"""What a run works on: the recording, its camera and the stretch of time, opened and checked before the first event."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from evslam.batching import BearingTable, packets
from evslam.config import Config
from evslam.errors import ConfigError, DataError
from evslam.geometry.camera import Camera
from evslam.inertial.signal import InertialSignal, prepare
from evslam.io.extrinsics import read_T_cam_imu
from evslam.io.recording import Recording, open_recording
from evslam.io.transforms import parse_transform
from evslam.noise import NoiseFilter
from evslam.prefetch import read_ahead
from evslam.types import EventBatch, SensorSize

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """What to run and where to put it; `start_s` and `duration_s` are seconds after the recording's first event.

    `fov_deg` is the horizontal field of view to go on with where there is no calibration. The camera is to be found in
    `map`, a file or the folder of an earlier run.
    """

    recording: Path
    out: Path
    calib: Path | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    overwrite: bool = False
    resume: bool = False
    view: bool = False
    progress: bool = True
    fov_deg: float | None = None
    map: Path | None = None


@dataclass(frozen=True)
class Session:
    """An opened recording, its camera and the half-open interval [start_us, stop_us) to process."""

    recording: Recording
    camera: Camera
    table: BearingTable
    start_us: int
    stop_us: int

    def imu(self, config: Config) -> InertialSignal | None:
        """The recording's IMU in camera axes, if the configuration asks for it; what was mended is logged.

        Raises:
            DataError: there is none, or it cannot be used.
            CalibrationError: its place is given in a way that cannot be read.
        """
        if not config.gyro.use:
            return None
        recording = self.recording
        if recording.imu is None or len(recording.imu.t_us) < 2:
            raise DataError(f"{recording.path}: no IMU to use; run without --imu, or add imu.txt")
        source, T_cam_imu = self._place_of_imu(config.gyro.T_cam_imu)
        signal = prepare(recording.imu, T_cam_imu)
        for note in (f"T_cam_imu: {source}", *signal.notes):
            log.info("%s", note)
        if signal.t_us[-1] <= self.start_us or signal.t_us[0] >= self.stop_us:
            raise DataError(
                f"{recording.path}: the IMU covers {signal.t_us[0]} to {signal.t_us[-1]} us, the events to process "
                f"{self.start_us} to {self.stop_us} us; run without --imu, or bring both to one clock"
            )
        return signal

    def _place_of_imu(self, given: str) -> tuple[str, np.ndarray | None]:
        """T_cam_imu (7,) and in words where it comes from."""
        beside = self.recording.beside
        if given:
            return given, parse_transform(given)
        if beside.calibration is not None:
            found = read_T_cam_imu(beside.calibration, self.recording.size, beside.camera)
            if found is not None:
                return f"{beside.calibration}#{found[0]}", found[1]
        return "not known, the IMU's place and axes are taken to be the camera's", None

    def noise_filter(self, config: Config) -> NoiseFilter:
        """A filter for the session's events from the first one on."""
        return NoiseFilter(config.noise, self.recording.size, self.start_us)

    def batches(
        self,
        config: Config,
        start_us: int,
        pace: Callable[[], float] = lambda: 0.0,
        noise: NoiseFilter | None = None,
    ) -> Iterator[EventBatch]:
        """Undistorted batches from start_us to the end of the session, read in a stream through a noise filter.

        `pace`: see `packets`. The filter is a new one unless given; a given one must be as it was at start_us, see
        `NoiseFilter.state_dict`.
        """
        noise = noise or NoiseFilter(config.noise, self.recording.size, start_us)
        chunks = read_ahead(self.recording.reader.read(noise.resume_us, self.stop_us, config.run.chunk_events))
        chunks = noise.clean(chunks, start_us)
        return (self.table.batch(packet) for packet in packets(chunks, config.batch, start_us, pace))


def open_session(options: RunOptions, config: Config) -> Session:
    """Open a recording for a run.

    Raises:
        DataError, CalibrationError, ConfigError: what the user has to mend before the run can begin.
    """
    size = None
    if config.sensor.width is not None and config.sensor.height is not None:
        size = SensorSize(height=config.sensor.height, width=config.sensor.width)
    elif config.sensor.width is not None or config.sensor.height is not None:
        raise ConfigError("only one of sensor.width and sensor.height is set; set both")
    recording = open_recording(options.recording, calib=options.calib, size=size, fov_deg=options.fov_deg)
    camera = recording.require_camera()
    first, last = recording.reader.t_first_us, recording.reader.t_last_us
    start = first + round(options.start_s * 1e6)
    stop = last + 1 if options.duration_s is None else min(last + 1, start + round(options.duration_s * 1e6))
    if not first <= start < stop:
        end = "its end" if options.duration_s is None else f"--duration {options.duration_s:g} s later"
        raise DataError(
            f"{options.recording}: nothing between --start {options.start_s:g} s and {end}; the recording lasts "
            f"{(last - first) * 1e-6:.3f} s from its first event"
        )
    bearing, valid = camera.bearing_table(torch.float32)
    device = _device(config.run.device)
    return Session(recording, camera, BearingTable(bearing.to(device), valid.to(device)), start, stop)


def _device(name: str) -> torch.device:
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"run.device is {name!r}, which cannot be used ({reason}); leave it as it is by default"
        ) from error
