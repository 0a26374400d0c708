"""Speed of one evaluation of the contrast of a batch under rotation: fused kernels, the binning layer with autograd,
plain torch, and (when JAX is installed) a JAX twin of the paper's formulation, interleaved in one run; prints JSON.

    python -m evslam.eval.bench.binning --threads 1 2 --events 5000 20000 200000 2000000

`torch eager` is what contrast-maximisation code usually does: bilinear votes by index_add and autograd through them.
Every number of threads is measured in a process of its own, bound to as many cores where the system can do that. torch
and JAX use them for one batch. The fused kernels work on a batch with one thread; several threads take a batch each
("fused, a batch per thread"), and milliseconds are those of one batch.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evslam.eval.bench import jax_twin
from evslam.objective import BatchContrast, variance
from evslam.problem import TorchProblem
from evslam.provenance import versions
from evslam.types import EventBatch
from evslam.warp import Canvas, warp_events_reference

CANVAS = Canvas(200.0, 200.0, 99.5, 74.5, (150, 200))
TWIST = np.array([0.0, 0.0, 0.0, 0.5, -1.0, 0.3])
LADDER = [
    (kernel, gradient) for kernel in ("rect", "linear", "quadratic", "cubic") for gradient in ("functional", "raw")
]
LARGEST_HESSIAN = 200_000  # events, of the unfused Hessian: it needs gigabytes beyond
Step = Callable[[np.ndarray], object]
Table = dict[str, dict[str, dict[str, float]]]  # by quantity, name, figure


@dataclass(frozen=True)
class Case:
    """One line of the table: what is calculated (value, value and gradient, Hessian), by which code, of how many
    batches at once.
    """

    quantity: str
    name: str
    step: Step
    batches: int = 1


def eager_votes(coords: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bilinear votes in plain torch, differentiable through the weights."""
    height, width = shape
    corner = coords.detach().floor()
    fraction = coords - corner
    image = torch.zeros(height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
            column, row = corner[:, 0].long() + dx, corner[:, 1].long() + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            image = image.index_add(0, (row * width + column)[inside], weight[inside])
    return image.view(height, width)


def batch_of(num_events: int) -> EventBatch:
    """Random points and times: harsh for the cache."""
    generator = torch.Generator().manual_seed(0)
    bearing = (torch.rand(num_events, 2, generator=generator) - 0.5) * torch.tensor([1.0, 0.75])
    t = (torch.rand(num_events, generator=generator) - 0.5) * 0.05
    return EventBatch(0, -25_000, 25_000, t, bearing, t > 0)


def cases(batch: EventBatch, threads: int) -> list[Case]:
    """Everything that is timed for one batch."""

    def eager(twist: Tensor) -> Tensor:
        warped = warp_events_reference(batch.bearing, batch.t, twist, torch.zeros(1))
        return variance(eager_votes(CANVAS.project(warped), CANVAS.shape))

    plain = TorchProblem(eager, batch.t)
    found = [Case("value", "torch eager linear raw", plain.value)]
    found.append(Case("value_and_gradient", "torch eager linear raw", plain.gradient))
    for kernel, gradient in LADDER:
        contrast = BatchContrast(batch, CANVAS, kernel, gradient, variance, 0.0)
        chains = {"autograd": TorchProblem(contrast, batch.t), "fused": contrast.problem()}
        for code, problem in chains.items():
            if (kernel, gradient) == ("rect", "raw"):
                continue  # no gradient
            name = f"{code} {kernel} {gradient}"
            found.append(Case("value", name, problem.value))
            found.append(Case("value_and_gradient", name, problem.gradient))
            if code == "fused" or batch.num_events <= LARGEST_HESSIAN:
                found.append(Case("hessian", name, problem.hessian))
    return found + jax_cases(batch) + (parallel_cases(batch, threads) if threads > 1 else [])


def parallel_cases(batch: EventBatch, threads: int) -> list[Case]:
    """Value and gradient of several batches at once, one in each thread: the kernels release the interpreter."""
    pool = ThreadPoolExecutor(threads)
    found = []
    for kernel in ("rect", "linear", "quadratic"):
        contrast = BatchContrast(batch, CANVAS, kernel, "functional", variance, 0.0)
        several = [contrast.problem() for _ in range(threads)]

        def step(twist: np.ndarray, several: list[Any] = several) -> object:
            return list(pool.map(lambda problem: problem.gradient(twist), several))

        name = f"fused {kernel} functional, a batch per thread"
        found.append(Case("value_and_gradient", name, step, threads))
    return found


def jax_cases(batch: EventBatch) -> list[Case]:
    """None without JAX."""
    try:
        functions = {name: jax_twin.value_and_gradient(CANVAS, name) for name in jax_twin.DEGREES}
    except ImportError:
        return []
    bearing, t = batch.bearing.numpy(), batch.t.numpy()

    def step(function: Callable[..., Any]) -> Callable[[np.ndarray], object]:
        return lambda twist: _ready(function(twist[3:].astype(np.float32), bearing, t))

    return [Case("value_and_gradient", f"jax {name}", step(function)) for name, function in functions.items()]


def _ready(result: tuple[object, object]) -> object:
    """Wait for JAX."""
    return [np.asarray(each) for each in result]


def _jax_version() -> dict[str, str]:
    return {"jax": version("jax")} if find_spec("jax") else {}


def time_ms(
    several: list[Case], num_events: int, rounds: int, seconds: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Wall and CPU time by quantity and name; rounds of all cases, so that a slow moment hits all.

    CPU time is that of all threads together: on one thread of a machine that others use too, the fairer figure.
    """
    times: dict[Case, list[tuple[float, float]]] = {case: [] for case in several}
    for case in several:
        case.step(TWIST)  # compiles
    begin = time.perf_counter()
    for number in range(rounds):
        for case, found in times.items():
            twist = TWIST * (1 + 1e-4 * number)
            case.step(twist * 0.9)  # warm the cache, forget the last twist
            start = time.perf_counter(), time.process_time()
            case.step(twist)
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            found.append((spent[0] * 1e3 / case.batches, spent[1] * 1e3 / case.batches))
        gc.collect()
        if number >= 4 and time.perf_counter() - begin > seconds:
            break
    table: Table = {}
    for case, found in times.items():
        wall, cpu = np.array(found).T
        low, median, high = np.percentile(wall, [25, 50, 75])
        figures = {
            "median_ms": median,
            "iqr_ms": high - low,
            "min_ms": wall.min(),
            "cpu_median_ms": np.median(cpu),
            "mev_per_s": num_events / median * 1e-3,
        }
        table.setdefault(case.quantity, {})[case.name] = {key: round(float(value), 4) for key, value in figures.items()}
    return table


def measure(threads: int, number: int, rounds: int, seconds: float) -> Table:
    """Table of batches of so many events, with so many threads; call it in a process of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    return time_ms(cases(batch_of(number), threads), number, rounds, seconds)


def machine() -> dict[str, Any]:
    """Processor, and the load of the machine at the end."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    processor = names[0].partition(":")[2].strip() if names else platform.processor()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[5_000, 20_000, 200_000, 2_000_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0, help="longest time for one number of events")
    parser.add_argument("--out", type=Path, help="file that holds what is known so far")
    arguments = parser.parse_args()
    figures: dict[str, dict[str, Table]] = {}
    text = ""
    for threads in arguments.threads:
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            for number in arguments.events:
                job = fresh.submit(measure, threads, number, arguments.rounds, arguments.seconds)
                figures.setdefault(f"{threads} threads", {})[str(number)] = job.result()
                everything = {"machine": machine(), "versions": versions() | _jax_version()}
                text = json.dumps({"figures": figures, "canvas": CANVAS.shape, **everything}, indent=2)
                if arguments.out is not None:
                    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
