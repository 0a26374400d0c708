"""Two-channel event images on which points can be tracked whatever the direction of motion.

Channel 0 is a leaky signed integral of the events, independent of the motion but blurred by it; channel 1 the
motion-compensated events of the last moments without their sign, sharp but showing only edges across the motion.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.settings_tracking import FrameConfig
from evslam.state import from_state, to_state
from evslam.tracking.frame_kernels import bearings, integrate, vote
from evslam.types import EventBatch

BORDER = 16  # replicated pixels around each level of a pyramid: a patch may lie at the image's edge
GAIN = (110.0, 120.0)  # of both channels at their 95 % quantile
CLIP = (-128.0, 127.0, -80.0, 175.0)  # lower and upper limits of both channels
_FLOOR = 1e-6
_SAMPLE = 7  # every so many pixels tell a quantile


@dataclass(frozen=True)
class EventFrame:
    """An event image of a moment.

    Attributes:
        t_us: the moment, microseconds.
        levels: pyramid, fine to coarse: (2, h + 2 BORDER, w + 2 BORDER) float32; a level is half as fine as the last.
        activity: (H / 2, W / 2) float32, smoothed events of the window over what a place needs to be worth tracking.
        votes: (H, W) float32, motion-compensated events of the window.
        num_events: in the window.
    """

    t_us: int
    levels: tuple[np.ndarray, ...]
    activity: np.ndarray
    votes: np.ndarray
    num_events: int

    @property
    def signed(self) -> np.ndarray:
        """(H, W) uint8, the first channel without its border, 128 where nothing happens."""
        inner = self.levels[0][0, BORDER:-BORDER, BORDER:-BORDER]
        return (inner + 128.0).astype(np.uint8)


@dataclass(frozen=True)
class RecentEvents:
    """The events of the last moments, as they were when this was made.

    Attributes:
        canvas: image plane.
        parts: batches in the order of time: t_ref_us, seconds after it (N,), canvas pixels (N, 2).
    """

    canvas: Canvas
    parts: tuple[tuple[int, np.ndarray, np.ndarray], ...]

    def around(self, t_us: int, half_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Bearings (N, 2) and seconds after t_us (N,), float32, of the events within so many seconds on both sides."""
        places, times = [], [np.zeros(0, np.float32)]
        for t_ref_us, t, place in self.parts:
            shift = np.float32((t_us - t_ref_us) * 1e-6)
            if len(t) and t[0] - shift <= half_s and t[-1] - shift >= -half_s:
                seconds = t - shift
                chosen = slice(*np.searchsorted(seconds, [-half_s, half_s]))
                places.append(place[chosen])
                times.append(seconds[chosen])
        seconds = np.concatenate(times)
        bearing, begin = np.empty((len(seconds), 2), np.float32), 0
        for place in places:
            stop = begin + len(place)
            bearings(place, self.canvas.centre, self.canvas.focal, bearing[begin:stop])
            begin = stop
        return bearing, seconds


_STATE = ("leaky", "scale", "on_weight", "now_us", "recent")


class FrameBuilder:
    """Keeps the last moments of the stream and makes images of them.

    Args:
        canvas: image plane.
        config: windows and scales.
    """

    def __init__(self, canvas: Canvas, config: FrameConfig) -> None:
        self.canvas, self.config = canvas, config
        self.leaky = np.zeros(canvas.cells[0] * canvas.cells[1], np.float32)
        self.on_weight, self.now_us = 1.0, 0
        self.scale = np.zeros(2)  # 95 % quantiles of both channels
        self._maps = cv2.convertMaps(canvas.sensor_cell, None, cv2.CV_16SC2)
        self._sample = np.flatnonzero(canvas.valid)[::_SAMPLE]
        half = cv2.resize(canvas.valid.astype(np.uint8), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
        self._half_sample = np.flatnonzero(half)[::_SAMPLE]
        self.recent: deque[tuple[int, np.ndarray, np.ndarray]] = deque()  # (t_ref_us, seconds, canvas pixels)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another builder."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], ()))

    def build(self, batch: EventBatch, flow: np.ndarray, speed: float) -> EventFrame:
        """The image at the end of a batch.

        Args:
            batch: follows the last one; `pixel` is known.
            flow: (6,) affine image flow in px/s: u' = a0 + a1 du + a2 dv, v' = a3 + a4 du + a5 dv around the centre.
            speed: typical image speed, px/s; sets the windows.
        """
        config, canvas = self.config, self.canvas
        self._integrate(batch, max(speed, 1.0))
        window_s = _within(config.window_px / max(speed, 1.0), config.window_s)
        self._remember(batch)
        place, age_s = self.window(window_s, config.max_events)
        votes = np.zeros((canvas.height, canvas.width), np.float32)
        vote(place, age_s, flow.astype(np.float32), canvas.centre.astype(np.float32), votes)
        grid = self.leaky.reshape(canvas.cells)
        lines = cv2.remap(grid, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        signed = _blur(lines, config.fine_px) - _wide_blur(lines, config.wide_px)
        sharp = _blur(votes, config.fine_px) - _blur(votes, 2 * config.fine_px)
        self._scale(0, np.abs(signed.ravel()[self._sample]))
        some = sharp[::2, ::2]
        self._scale(1, some[some > 0])
        signed *= GAIN[0] / self.scale[0]
        sharp *= GAIN[1] / self.scale[1]
        base = np.clip(signed, *CLIP[:2], out=signed), np.clip(sharp, *CLIP[2:], out=sharp)
        return EventFrame(batch.stop_us, pyramid(base, config.levels), self._activity(votes), votes, len(age_s))

    def _integrate(self, batch: EventBatch, speed: float) -> None:
        if batch.pixel is None:
            raise ValueError("points are tracked on batches whose sensor pixels are known")
        polarity = batch.polarity.numpy()
        if len(polarity):
            on = max(int(polarity.sum()), 1)
            ratio = np.clip((len(polarity) - on) / on, 0.5, 2.0)
            self.on_weight += 0.02 * (float(ratio) - self.on_weight)
        tau_s = _within(self.config.leak_px / speed, self.config.leak_s)
        age_s = np.float32((batch.stop_us - batch.t_ref_us) * 1e-6) - batch.t.numpy()
        elapsed_s = batch.duration_s
        cell = self.canvas.cell_of_pixel[batch.pixel.numpy()]
        integrate(self.leaky, cell, age_s, polarity, self.on_weight, tau_s, elapsed_s)

    def _remember(self, batch: EventBatch) -> None:
        focal, centre = np.float32(self.canvas.focal), self.canvas.centre.astype(np.float32)
        place = batch.bearing.numpy() * focal
        place += centre
        self.recent.append((batch.t_ref_us, batch.t.numpy(), place))
        while len(self.recent) > 1 and self.recent[0][0] < batch.stop_us - 1e6 * (self.config.window_s[1] + 0.05):
            self.recent.popleft()
        self.now_us = batch.stop_us

    def window(self, window_s: float, max_events: int) -> tuple[np.ndarray, np.ndarray]:
        """Canvas pixels (N, 2) and ages (N,) of the latest events, for so long and so many at most."""
        places: list[np.ndarray] = []
        ages: list[np.ndarray] = []
        held = 0
        for t_ref_us, t, place in reversed(self.recent):
            age_s = np.float32((self.now_us - t_ref_us) * 1e-6) - t
            first = max(int(np.searchsorted(-age_s, -window_s)), len(t) - (max_events - held))
            places.append(place[first:])
            ages.append(age_s[first:])
            held += len(t) - first
            if first > 0:
                break
        return np.concatenate(places), np.concatenate(ages)

    def events(self) -> RecentEvents:
        """The latest events; later batches do not change them."""
        return RecentEvents(self.canvas, tuple(self.recent))

    def _scale(self, channel: int, values: np.ndarray) -> None:
        """Let the scale of a channel follow the 95 % quantile slowly: a flickering one would pull points about."""
        now = _quantile(values, 0.95)
        before = self.scale[channel] or now
        self.scale[channel] = before * (now / before) ** self.config.scale_gain

    def _activity(self, votes: np.ndarray) -> np.ndarray:
        smooth = _blur(cv2.resize(votes, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 1.25)
        seen = smooth.ravel()[self._half_sample]
        needed = max(0.35 * float(seen.mean()), self.config.min_activity * _quantile(seen, 0.97))
        return smooth / np.float32(max(needed, _FLOOR))


def pyramid(channels: tuple[np.ndarray, ...], levels: int) -> tuple[np.ndarray, ...]:
    """Levels of an image of two channels (H, W), each half as fine as the last, with a replicated border."""
    images = [_bordered(channels)]
    for _ in range(levels - 1):
        channels = tuple(cv2.pyrDown(each) for each in channels)
        images.append(_bordered(channels))
    return tuple(images)


def _bordered(channels: tuple[np.ndarray, ...]) -> np.ndarray:
    height, width = channels[0].shape
    image = np.empty((len(channels), height + 2 * BORDER, width + 2 * BORDER), np.float32)
    for each, place in zip(channels, image, strict=True):
        cv2.copyMakeBorder(each, *4 * (BORDER,), cv2.BORDER_REPLICATE, dst=place)
    return image


def _within(value: float, limits: tuple[float, ...]) -> float:
    return min(max(value, limits[0]), limits[1])


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by way of half the resolution."""
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(_blur(half, sigma / 2), image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _quantile(values: np.ndarray, share: float) -> float:
    if not len(values):
        return 1.0
    index = int(share * (len(values) - 1))
    return float(np.partition(values, index)[index]) + _FLOOR
