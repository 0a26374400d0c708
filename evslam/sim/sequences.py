"""Named recordings, simulated from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from evslam.errors import ConfigError
from evslam.sim.config import SENSORS, SLIDER_CAMERA, MotionConfig, SceneConfig, SimConfig

DEMO = "demo"  # a camera that turns
DEMO_ROOM = "demo_room"  # one that moves through a room: what `evslam demo` shows
Factory = Callable[[int, float | None], SimConfig]


def _sequence(name: str, default_s: float, scene: SceneConfig, motion: MotionConfig) -> Factory:
    def build(seed: int, duration: float | None) -> SimConfig:
        return SimConfig(
            scene=scene,
            motion=motion,
            duration_s=default_s if duration is None else duration,
            seed=seed,
            name=name,
        )

    return build


def _slider_depth(seed: int, duration: float | None) -> SimConfig:
    """One metre along a slider, whatever the duration."""
    duration_s = 3.5 if duration is None else duration
    return SimConfig(
        scene=SceneConfig("table", num_objects=16),
        motion=MotionConfig("slider", speed=1.0 / duration_s if duration_s > 0 else 0.0),
        camera=SLIDER_CAMERA,
        duration_s=duration_s,
        seed=seed,
        name="slider_depth",
    )


_ROOM = (7.6, 8.0, 3.4)

SEQUENCES: dict[str, Factory] = {
    DEMO: _sequence(
        DEMO, 4.0, SceneConfig("city", 24, contrast=0.4), MotionConfig("handheld", rate_deg=40, frequency_hz=0.25)
    ),
    DEMO_ROOM: _sequence(
        DEMO_ROOM,
        5.0,
        SceneConfig("boxes", 24, size=(7.6, 8.0, 3.4)),
        MotionConfig("handheld", speed=0.5, rate_deg=22, frequency_hz=0.4),
    ),
    "rot_pan": _sequence("rot_pan", 14.0, SceneConfig("hall", 22), MotionConfig("pan", rate_deg=33, frequency_hz=0.4)),
    "rot_fast": _sequence(
        "rot_fast",
        5.0,
        SceneConfig("city", 20, contrast=0.45),
        MotionConfig("handheld", rate_deg=190, frequency_hz=1.2),
    ),
    "rot_rests": _sequence(
        "rot_rests",
        9.0,
        SceneConfig("city", 24, contrast=0.4),
        MotionConfig("handheld", rate_deg=50, frequency_hz=0.35, rests=((2.0, 1.5), (5.0, 3.0))),
    ),
    "rot_hand": _sequence(  # not quite a rotation: the hand moves by some ten centimetres
        "rot_hand",
        8.0,
        SceneConfig("room", 18, size=(7.0, 6.3, 2.9)),
        MotionConfig("handheld", speed=0.15, rate_deg=40, frequency_hz=0.4),
    ),
    "rot_mover": _sequence(
        "rot_mover",
        8.0,
        SceneConfig("crossing", 20, size=_ROOM),
        MotionConfig("handheld", rate_deg=30, frequency_hz=0.4),
    ),
    "poster_6dof": _sequence(
        "poster_6dof",
        12.0,
        SceneConfig("poster", size=(8.0, 6.4)),
        MotionConfig("handheld", speed=0.6, rate_deg=38, frequency_hz=0.6),
    ),
    "shapes_6dof": _sequence(
        "shapes_6dof",
        10.0,
        SceneConfig("shapes", 70, size=(8.5, 7.0)),
        MotionConfig("handheld", speed=0.8, rate_deg=90, frequency_hz=0.9),
    ),
    "boxes_6dof": _sequence(
        "boxes_6dof",
        11.0,
        SceneConfig("boxes", 24, size=_ROOM),
        MotionConfig("handheld", speed=0.44, rate_deg=25, frequency_hz=0.4),
    ),
    "boxes_rests": _sequence(
        "boxes_rests",
        14.0,
        SceneConfig("boxes", 24, size=_ROOM),
        MotionConfig("handheld", speed=0.44, rate_deg=25, frequency_hz=0.4, rests=((3.0, 1.5), (8.0, 3.0))),
    ),
    "desk": _sequence(
        "desk",
        14.0,
        SceneConfig("table", 18),
        MotionConfig("handheld", speed=0.33, rate_deg=13, frequency_hz=0.35, pitch_deg=-8),
    ),
    "slider_depth": _slider_depth,
    "loop_room": _sequence(
        "loop_room",
        24.0,
        SceneConfig("room", 18, size=(7.0, 6.3, 2.9)),
        MotionConfig("loop", speed=0.32, rate_deg=9, frequency_hz=0.5, extent=(1.15, 1.0)),
    ),
    "corridor": _sequence(
        "corridor",
        13.0,
        SceneConfig("corridor", 14, size=(16.0, 2.3, 2.7)),
        MotionConfig("walk", speed=0.8, rate_deg=15, frequency_hz=0.6, extent=(10.5, 0.0)),
    ),
    "dynamic": _sequence(
        "dynamic",
        13.0,
        SceneConfig("crossing", 20, size=_ROOM),
        MotionConfig("handheld", speed=0.27, rate_deg=17, frequency_hz=0.4),
    ),
}


def sequence(name: str, *, seed: int = 0, duration: float | None = None, sensor: str = "standard") -> SimConfig:
    """Configuration of a named recording.

    Arguments: name: a key of SEQUENCES; seed: another one gives another scene, motion and noise of the same family;
        duration: seconds, None for the sequence's own; sensor: a key of SENSORS.
    Raises: ConfigError for an unknown name.
    """
    if name not in SEQUENCES:
        near = get_close_matches(name, SEQUENCES, n=1, cutoff=0.0)[0]
        raise ConfigError(f"sequence '{name}' is unknown; did you mean '{near}'? Known: {', '.join(SEQUENCES)}")
    if sensor not in SENSORS:
        raise ConfigError(f"sensor '{sensor}' is unknown; give one of {', '.join(SENSORS)}")
    return replace(SEQUENCES[name](seed, duration), sensor=SENSORS[sensor])
