"""Noise steps: events per second of each, and hot pixels found on simulated recordings, where they are known.

    python -m evslam.eval.bench.noise [RECORDING ...]

Speed is measured on uniformly random events, which is the worst case for the cache. Recordings are folders that
`evslam simulate` wrote; their meta.yaml lists the hot pixels with their rates. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from evslam.config import load_config
from evslam.io.recording import open_recording
from evslam.io.sensor import read_meta
from evslam.noise import NoiseFilter
from evslam.settings import NoiseConfig
from evslam.types import Events, SensorSize

SIZES = ((240, 180), (640, 480), (1280, 720))
NUM_EVENTS, CHUNK, DURATION_US = 4_000_000, 500_000, 4_000_000


def variants(default: NoiseConfig) -> dict[str, NoiseConfig]:
    """The steps alone and together."""
    none = replace(default, hot_pixels=False, background_s=None, max_rate=None)
    return {
        "none": none,
        "hot pixels": replace(none, hot_pixels=True),
        "background": replace(none, background_s=0.01),
        "rate": replace(none, max_rate=5e5),
        "all": replace(none, hot_pixels=True, background_s=0.01, max_rate=5e5),
    }


def speed(config: NoiseConfig, size: SensorSize) -> float:
    """Events per second of CPU time, after compilation."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, DURATION_US, NUM_EVENTS))
    x, y = (rng.integers(0, limit, NUM_EVENTS).astype(np.uint16) for limit in (size.width, size.height))
    x[::50], y[::50] = 7, 9
    events = Events(t, x, y, rng.integers(0, 2, NUM_EVENTS) > 0)
    best = np.inf
    for _ in range(3):
        noise, start = NoiseFilter(config, size, 0), time.process_time()
        for _ in noise.clean((events[i : i + CHUNK] for i in range(0, NUM_EVENTS, CHUNK)), 0):
            pass
        best = min(best, time.process_time() - start)
    return NUM_EVENTS / best


def detection(path: Path, config: NoiseConfig) -> dict[str, Any]:
    """Hot pixels of a simulated recording: how many there are, were found, and were found where there are none."""
    recording = open_recording(path)
    truth = {(int(x), int(y)) for x, y, _ in read_meta(path / "meta.yaml")["hot_pixels"]}
    noise = NoiseFilter(config, recording.size, recording.reader.t_first_us)
    for _ in noise.clean(recording.reader.read(chunk=CHUNK), recording.reader.t_first_us):
        pass
    found = {(int(x), int(y)) for y, x in np.argwhere(noise.hot)}
    seconds = (recording.reader.t_last_us - recording.reader.t_first_us) * 1e-6
    figures = {"recording": path.name, "seconds": seconds, "hot pixels": len(truth), "found": len(found & truth)}
    return figures | {"wrong": len(found - truth), "counts": asdict(noise.counts)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="*", metavar="RECORDING")
    arguments, default = parser.parse_args(), load_config().noise
    speeds = {
        f"{width}x{height}": {
            name: round(speed(config, SensorSize(height=height, width=width)) * 1e-6, 1)
            for name, config in variants(default).items()
        }
        for width, height in SIZES
    }
    found = [detection(path, default) for path in arguments.recordings]
    print(json.dumps({"million events per second": speeds, "detection": found}, indent=2))


if __name__ == "__main__":
    main()
