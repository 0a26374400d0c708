"""Event-camera pixels in the manner of ESIM (Rebecq, Gehrig, Scaramuzza, CoRL 2018).

Each pixel low-passes its log intensity (linear between two renders; the filter's answer to that ramp is exact at the
renders and taken linear between them), fires when it leaves the band [reference - c_neg, reference + c_pos], and then
rests: during the dead time its reference follows the signal, as the reset switch of a real pixel makes it. Background
activity and hot pixels are spontaneous firings of the same pixels. Every pixel has its own random numbers, so events
don't depend on how the work is split.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from evslam.sim.config import SensorConfig
from evslam.sim.workers import RowWorkers
from evslam.types import Events, SensorSize

MID_GREY = 0.25  # intensity at which the photoreceptor has the cut-off `cutoff_hz`
JITTER_CUT = 4.0  # standard deviations
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


# Constants of a pixel: thresholds, dead time, mean time between spontaneous firings. State: log intensity at the last
# render, that behind the low-pass, the reference on which the band hangs, end of the dead time, next spontaneous
# firing, random number generator.
PIXEL = np.dtype(
    [
        ("c_pos", np.float64),
        ("c_neg", np.float64),
        ("dead_us", np.float64),
        ("noise_us", np.float64),
        ("signal", np.float64),
        ("filtered", np.float64),
        ("reference", np.float64),
        ("release_us", np.float64),
        ("spontaneous_us", np.float64),
        ("random", np.uint64),
    ]
)


class Limits(NamedTuple):
    """What all pixels share: see SensorConfig; cut-offs in Hz, end_us is the end of the recording."""

    num_pixels: int
    cutoff: float
    cutoff_min: float
    cutoff_max: float
    eps: float
    noise_on: float
    jitter_us: float
    end_us: float


@njit(cache=True, nogil=True, error_model="numpy")
def _uniform(pixel):  # type: ignore[no-untyped-def]
    """Uniform number in (0, 1) of a pixel's own stream (splitmix64)."""
    pixel.random += _GOLDEN
    z = pixel.random
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
def _stamp(pixel, limits, place, t_us, polarity):  # type: ignore[no-untyped-def]
    """An event as one sortable number (time, place, polarity), the time jittered and within the recording."""
    if limits.jitter_us > 0.0:
        radius = np.sqrt(-2.0 * np.log(_uniform(pixel)))
        normal = radius * np.cos(2.0 * np.pi * _uniform(pixel))
        t_us += limits.jitter_us * min(max(normal, -JITTER_CUT), JITTER_CUT)
    whole = np.int64(min(max(t_us, 0.0), limits.end_us))
    return 2 * (whole * limits.num_pixels + place) + polarity


@njit(cache=True, nogil=True, error_model="numpy")
def _low_pass(pixel, limits, light, dt_us):  # type: ignore[no-untyped-def]
    """Filtered log intensity after a ramp to log(light + eps) that takes dt_us."""
    target = np.log(light + limits.eps)
    start, old = pixel.signal, pixel.filtered
    pixel.signal = target
    cutoff = min(max(limits.cutoff * light / MID_GREY, limits.cutoff_min), limits.cutoff_max)
    if cutoff == np.inf:
        return target
    tau_us = 1e6 / (2.0 * np.pi * cutoff)
    lag = (target - start) / dt_us * tau_us
    return target - lag + (old - start + lag) * np.exp(-dt_us / tau_us)


@njit(cache=True, nogil=True, error_model="numpy")
def _fire(pixel, limits, place, segment, events, count):  # type: ignore[no-untyped-def]
    """Events of one pixel while its filtered signal runs along a straight line.

    Arguments: place: row * width + column; segment: (t0_us, t1_us, value at t0, value at t1).
    Returns: events (grown if need be) and their count.
    """
    t0, t1, low, high = segment
    slope = (high - low) / (t1 - t0)
    now, reference = t0, pixel.reference
    if pixel.release_us >= t0:
        now = pixel.release_us
        reference = low + slope * (now - t0)
    while now < t1:
        while pixel.spontaneous_us <= now:
            pixel.spontaneous_us = now - np.log(_uniform(pixel)) * pixel.noise_us
        when, polarity = np.inf, 1
        if slope > 0.0:
            when = t0 + (reference + pixel.c_pos - low) / slope
        elif slope < 0.0:
            when, polarity = t0 + (reference - pixel.c_neg - low) / slope, 0
        if pixel.spontaneous_us < when:
            when = pixel.spontaneous_us
            polarity = 1 if _uniform(pixel) < limits.noise_on else 0
        if when > t1:
            break
        if count == len(events):
            events = np.concatenate((events, np.empty_like(events)))
        events[count] = _stamp(pixel, limits, place, when, polarity)
        count += 1
        now = when + pixel.dead_us
        pixel.release_us = now
        reference = low + slope * (now - t0)
    pixel.reference = reference
    return events, count


@njit(cache=True, nogil=True, error_model="numpy")
def sense_rows(pixels, limits, t_us, images, first, last):  # type: ignore[no-untyped-def]
    """Events of the rows [first, last) of the pixels (H, W) PIXEL.

    Arguments: t_us: (F + 1,) time of the render before the first image, and of the images; images: (F, H, W).
    Returns: (N,) int64 unsorted sortable events, see `_stamp`.
    """
    # A plain 0 would be a constant to the compiler, and compile `_fire` twice.
    events, count, width = np.empty(4096, np.int64), np.int64(0), images.shape[2]
    for frame in range(len(images)):
        t0, t1 = t_us[frame], t_us[frame + 1]
        for row in range(first, last):
            for column in range(width):
                pixel = pixels[row, column]
                old = pixel.filtered
                new = _low_pass(pixel, limits, images[frame, row, column], t1 - t0)
                pixel.filtered = new
                if pixel.release_us < t0:
                    above = new - pixel.reference
                    if above < pixel.c_pos and -above < pixel.c_neg and pixel.spontaneous_us > t1:
                        continue
                elif pixel.release_us >= t1:
                    continue
                events, count = _fire(pixel, limits, row * width + column, (t0, t1, old, new), events, count)
    return events[:count].copy()


class Sensor:
    """The pixels of one simulated recording, fed with renders in the order of time."""

    def __init__(self, config: SensorConfig, size: SensorSize, seed: np.random.SeedSequence, end_us: int) -> None:
        """Arguments: seed: decides thresholds, hot pixels and noise; end_us: no event is stamped later than that."""
        shape = (size.height, size.width)
        rng = np.random.default_rng(seed)
        pixels = np.zeros(shape, PIXEL)
        for name, mean in (("c_pos", config.c_pos), ("c_neg", config.c_neg)):
            pixels[name] = np.maximum(mean + config.c_sigma * rng.standard_normal(shape), config.c_min)
        spread = np.maximum(1 + config.refractory_spread * rng.standard_normal(shape), 0.2)
        pixels["dead_us"] = config.refractory_us * spread
        rate = np.full(shape, config.noise_hz)
        places = rng.choice(rate.size, min(config.hot_pixels, rate.size), replace=False)
        rate.flat[places] = rng.uniform(*config.hot_hz, len(places))
        with np.errstate(divide="ignore"):
            pixels["noise_us"] = 1e6 / rate
        pixels["random"] = rng.integers(0, 2**64, shape, np.uint64)
        pixels["spontaneous_us"] = pixels["noise_us"] * rng.exponential(size=shape)
        pixels["release_us"] = -1.0
        self._pixels = pixels
        cutoffs = (config.cutoff_hz, config.cutoff_min_hz, config.cutoff_max_hz)
        noise = (config.eps, config.noise_on, config.jitter_us)
        self._limits = Limits(rate.size, *cutoffs, *noise, float(end_us))
        self._shape = shape
        self._last_us = 0.0
        self._waiting = np.empty(0, np.int64)
        self.hot_pixels = [(int(p % size.width), int(p // size.width), float(rate.flat[p])) for p in places]

    def start(self, image: np.ndarray) -> None:
        """Settle on the image (H, W) of time zero."""
        level = np.log(image.astype(np.float64) + self._limits.eps)
        for name in ("signal", "filtered", "reference"):
            self._pixels[name] = level

    def switch_off(self, mask: np.ndarray) -> None:
        """Silence the pixels of the mask (H, W) for good."""
        self._pixels["release_us"][mask] = np.inf

    def advance(self, t_us: np.ndarray, images: np.ndarray, workers: RowWorkers) -> Events:
        """Events up to a few deviations of the jitter before the last render.

        Arguments: t_us: (F,) increasing, after the last call's; images: (F, H, W) float32 linear intensity.
        """
        times = np.concatenate([[self._last_us], t_us])
        self._last_us = float(t_us[-1])
        parts = workers.map(lambda first, last: sense_rows(self._pixels, self._limits, times, images, first, last))
        events = np.concatenate([self._waiting, *parts])
        events.sort()
        settled = int(max(self._last_us - JITTER_CUT * self._limits.jitter_us - 1, 0))
        split = int(np.searchsorted(events, 2 * settled * self._shape[0] * self._shape[1]))
        self._waiting = events[split:]
        return self._unpack(events[:split])

    def finish(self) -> Events:
        """The events that `advance` still holds back."""
        waiting, self._waiting = self._waiting, self._waiting[:0]
        return self._unpack(waiting)

    def _unpack(self, events: np.ndarray) -> Events:
        place = events >> 1
        t, pixel = np.divmod(place, self._shape[0] * self._shape[1])
        row, column = np.divmod(pixel, self._shape[1])
        return Events(t, column.astype(np.uint16), row.astype(np.uint16), (events & 1).astype(bool))
