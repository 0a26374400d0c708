"""Gradient study: every kernel and estimator against long-range finite differences of the same objective.

    python -m evslam.eval.experiments.gradients RECORDING... --out runs/gradients

For every packet the optimum is found first. Around it, at random displacements near and far (in bins of RMS event
displacement), the gradient in bins is compared with central differences over 0.5, 1 and 2 bins: the slope of its
regression on them through zero (1 is right), their correlation, and the norm of the difference over theirs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from evslam.climb import FREE_PARAMETERS
from evslam.config import load_config
from evslam.egomotion import estimate_packet
from evslam.errors import ConfigError, DataError, EvslamError
from evslam.eval.experiments.gradient_figures import landscape_figure, scatter_figure
from evslam.eval.experiments.output import write_table
from evslam.eval.experiments.spec import read_yaml
from evslam.geometry.camera import Camera
from evslam.packet_problem import Method, PacketProblem
from evslam.session import RunOptions, open_session
from evslam.types import EventBatch

KERNELS = ("rect", "linear", "quadratic", "cubic", "gauss", "gauss_cut")
ESTIMATORS = (
    ("raw", "linear"), ("functional", "linear"), ("functional", "cubic"), ("functional", "lanczos"),
    ("straight_through", "linear"), ("sigmoid", "linear"),
)  # fmt: skip
SPANS = (0.5, 1.0, 2.0)
RANGES = {"near": (0.2, 1.0), "far": (3.0, 8.0)}
NOTES = (
    "near: 0.2 to 1 bin of RMS event displacement from the optimum, far: 3 to 8 bins; central differences over 0.5, 1 "
    "and 2 bins; slope of the regression through zero, correlation, norm of the error over that of the differences.",
    "earlier: earlier measurements with another implementation on other packets of the same dataset "
    "(configs/experiments/gradient_reference.yaml).",
)


@dataclass(frozen=True)
class Study:
    """What to measure on each packet.

    Attributes:
        motion: free parameters.
        num_events, packets: events per packet, packets per recording.
        samples: displacements per packet and range.
        scale: of the image; one bin is 1 / scale pixels.
        seed: of the displacements.
    """

    motion: str = "rotation"
    num_events: int = 20000
    packets: int = 4
    samples: int = 12
    scale: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Comparison:
    """Gradients and finite differences of one kernel and estimator: by range, both flattened."""

    gradient: dict[str, np.ndarray]
    difference: dict[str, np.ndarray]


def quality(gradient: np.ndarray, difference: np.ndarray) -> tuple[float, float, float]:
    """Slope, correlation and relative error of a gradient against finite differences; NaN where undefined."""
    energy = float(difference @ difference)
    if energy == 0:
        return float("nan"), float("nan"), float("nan")
    constant = gradient.std() == 0 or difference.std() == 0
    correlation = float("nan") if constant else float(np.corrcoef(gradient, difference)[0, 1])
    error = float(np.linalg.norm(gradient - difference)) / np.sqrt(energy)
    return float(gradient @ difference) / energy, correlation, error


def packets(recording: Path, study: Study) -> tuple[Camera, list[EventBatch]]:
    """The first packets of a recording; DataError when it has none with half of the events."""
    config = load_config(overrides=[f"batch.num_events={study.num_events}", "batch.max_duration_s=0.2"])
    session = open_session(RunOptions(recording, Path(), progress=False), config)
    full = (each for each in session.batches(config, session.start_us) if each.num_events >= study.num_events / 2)
    found = list(itertools.islice(full, study.packets))
    if not found:
        raise DataError(f"{recording}: no packet of {study.num_events // 2} events within 0.2 s; give fewer --events")
    return session.camera, found


def optimum(batch: EventBatch, camera: Camera, study: Study) -> np.ndarray:
    """Free parameters (P,) of the sharpest image, coarse to fine from zero."""
    scales = tuple(scale for scale in (0.125, 0.25) if scale < study.scale)
    method = Method(study.motion, scales=(*scales, study.scale), margin=0.3)
    return estimate_packet(batch, camera, method, None).twist[method.free]


def displaced(centre: np.ndarray, problem: PacketProblem, study: Study, seed: int) -> dict[str, np.ndarray]:
    """Random points around a centre by range, (samples, P), in bins."""
    rng = np.random.default_rng(seed)
    points = {}
    for name, limits in RANGES.items():
        direction = rng.standard_normal((study.samples, len(centre)))
        length = rng.uniform(*limits, (study.samples, 1))
        step = length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        points[name] = problem.metric.scale(centre) + step
    return points


def differences(problem: PacketProblem, point: np.ndarray) -> np.ndarray:
    """(SPANS, P) central differences of the objective in bins."""
    result = np.empty((len(SPANS), len(point)))
    for (i, span), axis in itertools.product(enumerate(SPANS), range(len(point))):
        step = np.eye(len(point))[axis] * span / 2
        result[i, axis] = (value(problem, point + step) - value(problem, point - step)) / span
    return result


def value(problem: PacketProblem, point: np.ndarray) -> float:
    """Objective at a point in bins."""
    return problem.value(problem.metric.unscale(point))


def slope(problem: PacketProblem, point: np.ndarray) -> np.ndarray:
    """(P,) gradient in bins at a point in bins."""
    return problem.metric.pull_back(problem.gradient(problem.metric.unscale(point))[1])


def compare(recordings: list[Path], study: Study) -> tuple[dict[str, Comparison], dict[str, str]]:
    """Every kernel and estimator on the packets of all recordings; and the ones that do not exist, with the reason."""
    cases = [(batch, camera) for path in recordings for camera, found in [packets(path, study)] for batch in found]
    compared: dict[str, Comparison] = {}
    missing: dict[str, str] = {}
    work = list(itertools.product(KERNELS, range(len(cases))))
    optima = [optimum(batch, camera, study) for batch, camera in tqdm(cases, desc="optima", mininterval=1)]
    for kernel, i in tqdm(work, desc="gradients", mininterval=1):
        try:
            for name, near_far in _measure(kernel, *cases[i], optima[i], replace(study, seed=study.seed + i), missing):
                compared[name] = _joined(compared.get(name), near_far)
        except ConfigError as error:
            missing[kernel] = str(error)
    return compared, missing


def _measure(
    kernel: str, batch: EventBatch, camera: Camera, centre: np.ndarray, study: Study, missing: dict[str, str]
) -> Iterator[tuple[str, Comparison]]:
    base = Method(study.motion, kernel=kernel, gradient="functional", margin=0.3)
    problem = PacketProblem(batch, camera, base, study.scale)
    points = displaced(centre, problem, study, study.seed)
    reference = {name: [differences(problem, z) for z in where] for name, where in points.items()}
    for gradient, reconstruction in ESTIMATORS:
        name = f"{kernel}/{gradient}/{reconstruction}"
        try:
            method = replace(base, gradient=gradient, reconstruction=reconstruction)
            estimator = PacketProblem(batch, camera, method, study.scale)
            slopes = {key: [slope(estimator, z) for z in where] for key, where in points.items()}
        except ConfigError as error:
            missing[name] = str(error)
            continue
        yield (
            name,
            Comparison(
                {key: np.concatenate([np.tile(g, len(SPANS)) for g in each]) for key, each in slopes.items()},
                {key: np.concatenate([f.ravel() for f in each]) for key, each in reference.items()},
            ),
        )


def _joined(first: Comparison | None, second: Comparison) -> Comparison:
    if first is None:
        return second
    return Comparison(
        {key: np.concatenate([first.gradient[key], second.gradient[key]]) for key in RANGES},
        {key: np.concatenate([first.difference[key], second.difference[key]]) for key in RANGES},
    )


def table(compared: dict[str, Comparison], missing: dict[str, str], reference: dict[str, Any]) -> pd.DataFrame:
    """One row per kernel and estimator, beside the earlier measurements; what does not exist says why."""
    rows = []
    for name in [*compared, *missing]:
        row: dict[str, Any] = {"kernel/gradient/reconstruction": name}
        for key in RANGES:
            if name in compared:
                each = compared[name]
                row[f"{key}: slope, corr., error"] = _triple(quality(each.gradient[key], each.difference[key]))
            earlier = reference["rows"].get(name, {}).get(key)
            row[f"{key}, earlier"] = _triple(earlier) if earlier else ""
        rows.append(row | ({"remark": missing[name]} if name in missing else {}))
    return pd.DataFrame(rows)


def _triple(values: Any) -> str:
    first, second, third = values
    return f"{first:.2f}, {second:.3f}, {third:.2f}"


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--motion", choices=tuple(FREE_PARAMETERS), default="rotation")
    parser.add_argument("--events", type=int, default=20000, help="per packet (default: 20000)")
    parser.add_argument("--packets", type=int, default=4, help="per recording (default: 4)")
    parser.add_argument("--samples", type=int, default=12, help="displacements per packet and range (default: 12)")
    parser.add_argument("--scale", type=float, default=0.5, help="bins per pixel (default: 0.5)")
    parser.add_argument("--out", type=Path, default=Path("runs/gradients"), help="default: runs/gradients")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    study = Study(arguments.motion, arguments.events, arguments.packets, arguments.samples, arguments.scale)
    try:
        compared, missing = compare(arguments.recordings, study)
        paths = write_table(
            table(compared, missing, read_yaml("gradient_reference")), arguments.out, "gradients", NOTES
        )
        paths += scatter_figure(compared, arguments.out / "figures")
        camera, found = packets(arguments.recordings[0], study)
        paths += landscape_figure(found[0], camera, optimum(found[0], camera, study), study, arguments.out / "figures")
    except EvslamError as error:
        print(f"evslam.eval.experiments.gradients: {error}", file=sys.stderr)
        return 2
    print((arguments.out / "gradients.md").read_text(encoding="utf-8"), *paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
