"""Event-camera simulator: procedural scenes, smooth motion, real lenses and noisy pixels, on the CPU.

config = sequence("demo", seed=0)
simulation = simulate(config)
for events in simulation.events():
    ...
"""

from evslam.sim.config import DAVIS_CAMERA, SLIDER_CAMERA, ImuConfig, MotionConfig, SceneConfig, SensorConfig, SimConfig
from evslam.sim.sequences import SEQUENCES, sequence
from evslam.sim.simulation import Simulation, simulate

__all__ = [
    "DAVIS_CAMERA",
    "SEQUENCES",
    "SLIDER_CAMERA",
    "ImuConfig",
    "MotionConfig",
    "SceneConfig",
    "SensorConfig",
    "SimConfig",
    "Simulation",
    "sequence",
    "simulate",
]
