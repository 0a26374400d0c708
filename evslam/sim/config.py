"""What a simulation is made of: frozen dataclasses with the sensor and noise figures of a DAVIS240C."""

from __future__ import annotations

from dataclasses import dataclass, field

from evslam.geometry.camera import Camera
from evslam.sim.motion import Motion
from evslam.sim.scene import Scene
from evslam.types import SensorSize

DAVIS_SIZE = SensorSize(height=180, width=240)

# Calibrations published with the Event Camera Dataset (Mueggler et al., IJRR 2017): k1 k2 p1 p2 k3.
DAVIS_CAMERA = Camera(
    fx=199.092366542,
    fy=198.82882047,
    cx=132.192071378,
    cy=110.712660011,
    size=DAVIS_SIZE,
    model="radtan",
    distortion=(-0.368436311798, 0.150947243557, -0.000296130534385, -0.000759431726241, 0.0),
)
SLIDER_CAMERA = Camera(
    fx=335.419462958,
    fy=335.352935612,
    cx=129.924663379,
    cy=99.1864303447,
    size=DAVIS_SIZE,
    model="radtan",
    distortion=(-0.138592767408, 0.0933736664192, -0.000335586987532, 0.000173720158228, 0.0),
)


@dataclass(frozen=True)
class SceneConfig:
    """A procedural world; its layout and textures follow from the seed.

    Attributes:
        kind: a name in `evslam.sim.worlds.WORLDS`.
        num_objects: loose objects (boxes, shapes, buildings) in the world.
        contrast: standard deviation of the log intensity of the textures.
        size: metres; width (x), depth (y) and height (z) of a room, width and height of a wall.
    """

    kind: str
    num_objects: int = 24
    contrast: float = 0.7
    size: tuple[float, ...] = ()


@dataclass(frozen=True)
class MotionConfig:
    """A smooth random camera motion; it follows from the seed.

    Attributes:
        kind: a name in `evslam.sim.paths.PATHS`.
        speed: mean linear speed, m/s.
        rate_deg: mean angular speed, degrees/s (loop and walk: of the hand alone).
        frequency_hz: centre of the band of the hand's motion; a lower one sweeps wider at the same speed.
        origin: metres, world position around which the camera moves.
        heading_deg: heading of the mean viewing direction, from world x towards world y.
        pitch_deg: mean tilt of the viewing direction, positive upwards.
        rests: (begin, duration) in seconds of stretches at rest; the motion goes on afterwards where it stopped.
        extent: metres, half axes (x, y) of a walked loop or length (x) of a straight walk.
    """

    kind: str
    speed: float = 0.0
    rate_deg: float = 0.0
    frequency_hz: float = 0.5
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    heading_deg: float = 0.0
    pitch_deg: float = 0.0
    extent: tuple[float, float] = (1.0, 1.0)
    rests: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class SensorConfig:
    """Pixel model of an event camera (see `evslam.sim.sensor`).

    Attributes:
        c_pos, c_neg: mean ON and OFF thresholds, log intensity.
        c_sigma: standard deviation of the thresholds over pixels; c_min: smallest threshold.
        refractory_us: mean dead time of a pixel; refractory_spread: its relative standard deviation over pixels.
        cutoff_hz: cut-off of the photoreceptor at mid grey, proportional to intensity within
            [cutoff_min_hz, cutoff_max_hz]; infinite values switch the low-pass off.
        eps: dark current, added to the intensity before the logarithm.
        noise_hz: rate of background activity per pixel; noise_on: its share of ON events.
        hot_pixels: number of hot pixels; hot_hz: range of their rates.
        jitter_us: standard deviation of the time stamps (cut at four).
    """

    c_pos: float = 0.27
    c_neg: float = 0.22
    c_sigma: float = 0.03
    c_min: float = 0.08
    refractory_us: float = 1500.0
    refractory_spread: float = 0.12
    cutoff_hz: float = 300.0
    cutoff_min_hz: float = 60.0
    cutoff_max_hz: float = 1500.0
    eps: float = 0.03
    noise_hz: float = 0.2
    noise_on: float = 0.6
    hot_pixels: int = 8
    hot_hz: tuple[float, float] = (20.0, 250.0)
    jitter_us: float = 50.0


SENSORS = {"standard": SensorConfig(), "sparse": SensorConfig(c_pos=0.4, c_neg=0.33, noise_hz=0.4)}  # sparse and noisy


@dataclass(frozen=True)
class ImuConfig:
    """Noise of the inertial sensor.

    Attributes:
        rate_hz: samples per second.
        gyro_noise_density: rad/s/sqrt(Hz); acc_noise_density: m/s^2/sqrt(Hz).
        gyro_bias_sigma, acc_bias_sigma: standard deviation of the initial bias, rad/s and m/s^2.
        gyro_bias_walk, acc_bias_walk: random walk of the bias, rad/s/sqrt(s) and m/s^2/sqrt(s).
    """

    rate_hz: int = 1000
    gyro_noise_density: float = 0.00017
    acc_noise_density: float = 0.002
    gyro_bias_sigma: float = 0.01
    acc_bias_sigma: float = 0.08
    gyro_bias_walk: float = 2.0e-05
    acc_bias_walk: float = 0.0003


@dataclass(frozen=True)
class SimConfig:
    """A whole simulated recording.

    Attributes:
        scene: a procedural world, or a ready scene.
        motion: a random motion, or a ready one that covers [0, duration_s].
        camera: intrinsics and lens; events come out in its distorted pixels.
        seed: decides scene, motion, sensor and noise; the same seed gives the same bits.
        max_motion_px: largest image motion between two renders; max_interval_s: largest time between them.
    """

    scene: SceneConfig | Scene
    motion: MotionConfig | Motion
    camera: Camera = DAVIS_CAMERA
    sensor: SensorConfig = field(default_factory=SensorConfig)
    imu: ImuConfig = field(default_factory=ImuConfig)
    duration_s: float = 4.0
    seed: int = 0
    name: str = "custom"
    max_motion_px: float = 0.5
    max_interval_s: float = 0.005
