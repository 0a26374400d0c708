"""Families of camera motion, random but smooth: hand-held, pan, slider, loop through a room, walk along a corridor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import ConfigError
from evslam.sim.config import MotionConfig
from evslam.sim.motion import Motion

KNOT_S = 0.04
# Columns: the camera's right, down and forward in (forward, left, up).
LOOK_FORWARD = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
HAND_SPEED = 0.06  # m/s, of the hand while its owner walks
STOP_S = 0.15  # seconds in which the camera comes to rest
REST = 0.998  # share of the speed that a hand at rest gives up
STEP_HZ = 1.8  # steps per second of a walking person
RAMP = 0.08  # share of the duration that starting and stopping take, each
Path = tuple[np.ndarray, np.ndarray]  # position (N, 3) in metres; heading, pitch, roll (N, 3) in radians


class Wander:
    """A band-limited random signal of unit root-mean-square rate: a sum of sinusoids, defined for all times."""

    def __init__(self, rng: np.random.Generator, frequency_hz: float, dimensions: int, terms: int = 9) -> None:
        spread = np.exp(rng.uniform(np.log(0.45), np.log(2.0), (terms, dimensions)))
        self._rate = 2 * np.pi * frequency_hz * spread
        self._phase = rng.uniform(0, 2 * np.pi, (terms, dimensions))

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """Values (N, dimensions) at t (N,) seconds."""
        amplitude = np.sqrt(2 / len(self._rate)) / self._rate
        return (amplitude * np.sin(t[:, None, None] * self._rate + self._phase)).sum(1)


def _scaled(signal: np.ndarray, t: np.ndarray, duration: float, mean_rate: float) -> np.ndarray:
    """The signal (N, d) scaled so that the mean norm of its rate over [0, duration] is as given, within a factor."""
    rate = np.linalg.norm(np.gradient(signal, t, axis=0), axis=1)[(t >= 0) & (t <= duration)].mean()
    # A short excerpt may happen to stand nearly still: don't blow it up.
    return signal * mean_rate / max(rate, 0.5)


def _wobble(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """Hand-held motion around zero with the mean speeds of the configuration; axes are weighted as hands move."""
    position = Wander(rng, config.frequency_hz, 3)(t) * [0.6, 0.6, 0.45]
    angles = Wander(rng, config.frequency_hz, 3)(t) * [0.8, 0.55, 0.4]
    turn_rate = np.deg2rad(config.rate_deg)
    return _scaled(position, t, duration, config.speed), _scaled(angles, t, duration, turn_rate)


def _progress(t: np.ndarray, duration: float) -> np.ndarray:
    """Share of a way (N,) covered at t: constant speed with C2 ramps at both ends."""
    u = np.clip(t / duration, 0, 1)

    def ramp(v: np.ndarray) -> np.ndarray:  # integral of the smoothstep 3 v^2 - 2 v^3 over [0, v]
        return RAMP * (v**3 - 0.5 * v**4)

    middle = np.clip(u - RAMP, 0, 1 - 2 * RAMP)
    ends = ramp(np.clip(u / RAMP, 0, 1)) + ramp(np.array(1.0)) - ramp(np.clip((1 - u) / RAMP, 0, 1))
    return (ends + middle) / (1 - RAMP)


def _handheld(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """Hand-held motion around a place and a viewing direction; without speed a pure rotation."""
    return _wobble(config, rng, t, duration)


def _pan(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """A steady turn with tilting and rolling on top; .9 of the mean rate goes into the turn."""
    position, angles = _wobble(config, rng, t, duration)
    angles *= 0.45
    angles[:, 0] += rng.choice([-1, 1]) * 0.9 * np.deg2rad(config.rate_deg) * t
    return position, angles


def _slider(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """Straight to the camera's right, starting and stopping smoothly."""
    way = (_progress(t, duration) - 0.5) * config.speed * duration
    right = np.array([np.sin(np.deg2rad(config.heading_deg)), -np.cos(np.deg2rad(config.heading_deg)), 0.0])
    return way[:, None] * right, np.zeros((len(t), 3))


def _loop(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """A steady walk around an ellipse, looking outwards, again and again."""
    position, angles = _wobble(replace(config, speed=HAND_SPEED), rng, t, duration)
    angle = rng.uniform(0, 2 * np.pi) + config.speed / np.mean(config.extent) * t
    position[:, :2] += np.stack([np.cos(angle), np.sin(angle)], axis=1) * config.extent
    angles[:, 0] += angle
    return position, angles


def _walk(config: MotionConfig, rng: np.random.Generator, t: np.ndarray, duration: float) -> Path:
    """Ahead along world x with the bounce of steps, at the end of the way backwards."""
    position, angles = _wobble(replace(config, speed=HAND_SPEED), rng, t, duration)
    way = config.extent[0]
    back_and_forth = np.abs(np.mod(t * config.speed / way + 1, 2) - 1)
    position[:, 0] += way * _progress(back_and_forth, 1.0)
    phase = 2 * np.pi * STEP_HZ * t + rng.uniform(0, 2 * np.pi)
    position[:, 1] += 0.012 * np.sin(phase / 2)
    position[:, 2] += 0.015 * np.cos(phase)
    return position, angles


def _moving_time(t: np.ndarray, rests: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Time (N,) that the motion has run: it stands still in every rest, and stops and starts within STOP_S."""
    moving = t.copy()
    fine = np.linspace(t[0], t[-1], 20 * len(t))
    for begin, length in rests:
        u = np.clip(np.minimum(fine - begin + STOP_S, begin + length + STOP_S - fine) / STOP_S, 0, 1)
        still = REST * u * u * (3 - 2 * u)
        elapsed = np.concatenate([[0], np.cumsum(0.5 * (still[1:] + still[:-1]) * np.diff(fine))])
        moving -= np.interp(t, fine, elapsed)
    return moving


PATHS: dict[str, Callable[[MotionConfig, np.random.Generator, np.ndarray, float], Path]] = {
    "handheld": _handheld,
    "pan": _pan,
    "slider": _slider,
    "loop": _loop,
    "walk": _walk,
}


def build_motion(config: MotionConfig, rng: np.random.Generator, duration: float) -> Motion:
    """Motion over [0, duration] seconds.

    Raises: ConfigError for an unknown kind.
    """
    if config.kind not in PATHS:
        raise ConfigError(f"motion kind '{config.kind}' is unknown; use one of {', '.join(PATHS)}")
    t = KNOT_S * np.arange(-4, int(np.ceil(duration / KNOT_S)) + 5)
    position, angles = PATHS[config.kind](config, rng, _moving_time(t, config.rests), duration)
    heading, pitch, roll = angles.T
    heading = heading + np.deg2rad(config.heading_deg)
    pitch = pitch + np.deg2rad(config.pitch_deg)
    turn = Rotation.from_euler("ZYX", np.stack([heading, -pitch, roll], axis=1))
    return Motion(t, position + np.asarray(config.origin), turn * LOOK_FORWARD)
