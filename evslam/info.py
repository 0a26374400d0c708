"""What a recording holds, and what is wrong with it: the text and the picture of `evslam info`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.errors import EvslamError
from evslam.io.pose_checks import compare_with_rates
from evslam.io.recording import Recording
from evslam.noise import NoiseFilter
from evslam.settings import NoiseConfig
from evslam.types import Events

NUM_BINS = 500  # of the rate over time
MIN_BIN_US = 1000
GAP_US = 100_000  # without any event: worth telling
MIN_EVENTS_PER_PIXEL = 5  # from which on silent rows and columns mean something
SILENT_SHARE = 0.05  # of the width or height
ONE_SIDED, MIN_EVENTS = 0.9, 1000
PICTURE_EVENTS = 30_000


@dataclass(frozen=True)
class Survey:
    """Figures of one pass over all events.

    Attributes:
        num_events, num_on: events, and those of a brightness increase.
        edges_us: (B + 1,) edges of equal intervals of time.
        per_bin: (B,) events in each.
        counts: (H, W) events of each pixel.
        hot: (H, W) bool, pixels that fire far more than their neighbourhood.
        num_gaps, longest_gap_us: times without any event of more than 0.1 s.
    """

    num_events: int
    num_on: int
    edges_us: np.ndarray
    per_bin: np.ndarray
    counts: np.ndarray
    hot: np.ndarray
    num_gaps: int
    longest_gap_us: int

    @property
    def rate(self) -> np.ndarray:
        """(B,) events per second."""
        return self.per_bin / (np.diff(self.edges_us) * 1e-6)


@dataclass(frozen=True)
class Description:
    """What `evslam info` tells: lines by title, problems in words, and the figures for the picture."""

    lines: dict[str, str]
    problems: tuple[str, ...]
    survey: Survey


def survey(recording: Recording, noise: NoiseConfig) -> Survey:
    """Read a recording once from end to end.

    Raises:
        DataError: the events cannot be read.
    """
    reader = recording.reader
    first, last = reader.t_first_us, reader.t_last_us
    num_bins = int(np.clip((last - first) // MIN_BIN_US, 1, NUM_BINS))
    edges = np.linspace(first, last + 1, num_bins + 1)
    steps = NoiseFilter(noise, recording.size, first)
    per_bin = np.zeros(num_bins, np.int64)
    num_on = num_gaps = longest = 0
    before = first
    for events in steps.watch(reader.read()):
        per_bin += np.histogram(events.t, edges)[0]
        num_on += int(np.count_nonzero(events.p))
        gaps = np.diff(events.t, prepend=before)
        num_gaps, longest = num_gaps + int(np.count_nonzero(gaps > GAP_US)), max(longest, int(gaps.max()))
        before = int(events.t[-1])
    return Survey(steps.counts.seen, num_on, edges, per_bin, steps.event_counts, steps.hot, num_gaps, longest)


def describe(recording: Recording, noise: NoiseConfig) -> Description:
    """Tell what a recording holds; whatever cannot be used is a problem, not an error.

    Args:
        recording: is read once.
        noise: thresholds of hot pixels.

    Raises:
        DataError: the events cannot be read.
    """
    found, reader = survey(recording, noise), recording.reader
    duration, rate = (reader.t_last_us - reader.t_first_us) * 1e-6, found.rate * 1e-6
    lines = {
        "recording": str(recording.path),
        "dataset": recording.beside.about,
        "format": recording.format,
        "sensor": f"{recording.size.width} x {recording.size.height} ({recording.size_source})",
        "events": f"{found.num_events} ({100 * found.num_on / max(found.num_events, 1):.1f} % ON)",
        "time": f"{reader.t_first_us * 1e-6:.6f} to {reader.t_last_us * 1e-6:.6f} s, {duration:.3f} s",
        "rate": f"{found.num_events / max(duration, 1e-6) * 1e-6:.3f} million events/s, median {np.median(rate):.3f}, "
        f"peak {rate.max():.3f} over {np.diff(found.edges_us)[0] * 1e-3:.3g} ms",
    }
    parts, problems = _parts(recording)
    return Description(lines | parts, (*_event_problems(recording, found), *problems), found)


def sample(recording: Recording, found: Survey) -> Events:
    """Events for a picture: the first 30 000 of the busiest interval."""
    start = int(found.edges_us[int(np.argmax(found.per_bin))])
    return next(iter(recording.reader.read(start, None, PICTURE_EVENTS)), Events.empty())


def _event_problems(recording: Recording, found: Survey) -> list[str]:
    problems, num_hot = recording.reader.counts.problems(), int(np.count_nonzero(found.hot))
    if num_hot:
        problems.append(f"{num_hot} hot pixels are masked while running (noise.hot_pixels)")
    if found.num_gaps:
        problems.append(
            f"{found.num_gaps} times without any event for more than {GAP_US * 1e-6:g} s, "
            f"the longest {found.longest_gap_us * 1e-6:.3f} s"
        )
    share = found.num_on / max(found.num_events, 1)
    if found.num_events >= MIN_EVENTS and not 1 - ONE_SIDED < share < ONE_SIDED:
        problems.append(f"{100 * share:.0f} % of the events are ON: check the polarity or the sensor's biases")
    return problems + _silent_borders(found.counts)


def _silent_borders(counts: np.ndarray) -> list[str]:
    """Rows and columns at the end that never fire: perhaps the sensor is smaller."""
    if counts.mean() < MIN_EVENTS_PER_PIXEL:
        return []
    height, width = counts.shape
    used = int(np.flatnonzero(counts.any(1))[-1]) + 1, int(np.flatnonzero(counts.any(0))[-1]) + 1
    if used[0] > (1 - SILENT_SHARE) * height and used[1] > (1 - SILENT_SHARE) * width:
        return []
    return [
        f"no event beyond column {used[1] - 1} and row {used[0] - 1} of {width} x {height} pixels: if the sensor is "
        f"smaller, give --set sensor.width={used[1]} --set sensor.height={used[0]}"
    ]


def _parts(recording: Recording) -> tuple[dict[str, str], list[str]]:
    """What lies beside the events, and what of it cannot be used."""
    lines: dict[str, str] = {}
    problems = list(recording.beside.findings)
    for title, tell in (("calibration", _camera), ("ground truth", _groundtruth), ("imu", _imu)):
        try:
            lines[title], found = tell(recording)
            problems += found
        except EvslamError as error:
            lines[title] = "cannot be used, see problems"
            problems.append(str(error))
    return lines, problems


def _camera(recording: Recording) -> tuple[str, list[str]]:
    camera, source = recording.camera, recording.camera_source
    if camera is None:
        looked_for = f"no calibration; looked for {recording.beside.looked_for}"
        return "none", [f"{looked_for}; give one with --calib FILE, or --fov DEG for a first look"]
    text = f"{camera.model}, fx {camera.fx:g} fy {camera.fy:g} cx {camera.cx:g} cy {camera.cy:g} ({source})"
    return text, [f"calibration {source}"] if str(source).startswith("assumed") else []


def _groundtruth(recording: Recording) -> tuple[str, list[str]]:
    checked = recording.pose_check
    if checked is None:
        return "none", []
    problems, truth = list(checked.findings), checked.trajectory
    try:
        imu = recording.imu
    except EvslamError:
        imu = None  # told under its own title
    if imu is not None:
        problems += compare_with_rates(truth, imu.t_us, imu.gyro, "the gyroscope")
    return f"{len(truth)} poses, {_span(truth.t_us)} ({recording.beside.groundtruth})", problems


def _imu(recording: Recording) -> tuple[str, list[str]]:
    imu = recording.imu
    return ("none" if imu is None else f"{len(imu.t_us)} samples, {_span(imu.t_us)}"), []


def _span(t_us: np.ndarray) -> str:
    return f"{t_us[0] * 1e-6:.3f} to {t_us[-1] * 1e-6:.3f} s"
