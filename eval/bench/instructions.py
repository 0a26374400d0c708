"""What bounds the fused kernels: instructions an event, counted by valgrind, beside the cycles that they take.

    python -m evslam.eval.bench.instructions

Needs valgrind (cachegrind). The kernels are compiled for AVX2, which valgrind knows, in the counted and in the timed
process; on a machine with wider vectors the benchmark proper (`evslam.eval.bench.binning`) runs fewer instructions.
Numbers of events N and 2 N tell what an event costs from what the image costs, numbers of repetitions tell both from
the rest of the process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pandas as pd

from evslam.ops.fused import Chain, FusedContrast

KERNELS = {"rect": (0, 2), "linear": (1, 3), "quadratic": (2, 4)}  # degrees of value and gradient
QUANTITIES = ("value", "gradient", "hessian")
EVENTS, REPEATS = 20_000, (2, 12)
TARGET = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "OMP_NUM_THREADS": "1"}
TWIST = np.array([0.0, 0.0, 0.0, 0.5, -1.0, 0.3])
_MARK = "counted"


def steps(num_events: int) -> dict[str, Callable[[np.ndarray], object]]:
    """Evaluations by kernel and quantity: a rotation, random points and times, the canvas of `bench.binning`."""
    rng = np.random.default_rng(0)
    bearing = (rng.uniform(-0.5, 0.5, (num_events, 2)) * [1.0, 0.75]).astype(np.float32)
    t = rng.uniform(-0.025, 0.025, num_events).astype(np.float32)
    found: dict[str, Callable[[np.ndarray], object]] = {}
    for name, degrees in KERNELS.items():
        chain = Chain((200.0, 200.0), (99.5, 74.5), (150, 200), *degrees, "variance")
        contrast = FusedContrast(bearing, t, np.zeros(1), chain)
        found |= {f"{name} {quantity}": getattr(contrast, quantity) for quantity in QUANTITIES}
    return found


def evaluate(step: Callable[[np.ndarray], object], repeats: int) -> None:
    """So many evaluations, each at another twist."""
    for number in range(repeats):
        step(TWIST * (1 + 1e-4 * number))


def count_in_forks() -> None:
    """In the counted process: a fork for every case, because valgrind prints one total per process."""
    for num_events in (EVENTS, 2 * EVENTS):
        for (name, step), repeats in itertools.product(steps(num_events).items(), REPEATS):
            evaluate(step, 1)
            child = os.fork()
            if child == 0:
                evaluate(step, repeats)
                os._exit(0)
            os.waitpid(child, 0)
            print(_MARK, json.dumps([child, name, num_events, repeats]), flush=True)


def time_ms() -> dict[str, float]:
    """In the timed process: median milliseconds of every case, cases in turn, and of 10^6 cycles."""
    several, found = steps(EVENTS), {name: [] for name in ("cycles", *steps(EVENTS))}  # type: ignore[var-annotated]
    for number, (name, step) in itertools.product(range(60), [*several.items(), ("cycles", _million_cycles)]):
        step(TWIST * 0.9)
        begin = time.perf_counter()
        step(TWIST * (1 + 1e-4 * number))
        found[name].append((time.perf_counter() - begin) * 1e3)
    return {name: float(np.median(values[5:])) for name, values in found.items()}


def _million_cycles(twist: np.ndarray) -> int:
    return int(_chain(np.uint64(twist[3] * 1e6), 1_000_000 // 6))


@numba.njit(cache=True)
def _chain(x: Any, rounds: int) -> Any:
    """Six operations a round (xorshift), each of one cycle and each waiting for the one before."""
    for _ in range(rounds):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return x


def counted() -> dict[tuple[str, int], float]:
    """Instructions of one evaluation by case and number of events."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = _run([*command, sys.executable, "-m", __spec__.name, "--part", "count"])
    totals = {int(pid): int(n.replace(",", "")) for pid, n in re.findall(r"==(\d+)== I +refs: +([\d,]+)", done.stderr)}
    lines = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    by_case = {(name, n, repeats): totals[pid] for pid, name, n, repeats in map(json.loads, lines)}
    few, many = REPEATS
    return {(name, n): (by_case[name, n, many] - by_case[name, n, few]) / (many - few) for name, n, _ in by_case}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=os.environ | TARGET, capture_output=True, text=True, check=True)


def table(counts: dict[tuple[str, int], float], times: dict[str, float]) -> pd.DataFrame:
    """One row per case. Cycles: of the clock that a chain of dependent instructions shows in the same process."""
    rows = []
    for name in dict.fromkeys(name for name, _ in counts):
        once, twice = counts[name, EVENTS], counts[name, 2 * EVENTS]
        cycles = times[name] / times["cycles"] * 1e6
        rows.append({
            "case": name,
            "instructions an event": round((twice - once) / EVENTS, 1),
            "and an image [1000]": round((2 * once - twice) / 1e3),
            "time [ms]": round(times[name], 3),
            "instructions a cycle": round(once / cycles, 2),
            "time at 4 a cycle [ms]": round(once / 4e6 * times["cycles"], 3),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("count", "time"), help=argparse.SUPPRESS)
    part = parser.parse_args().part
    if part == "count":
        return count_in_forks()
    if part == "time":
        return print(json.dumps(time_ms()))
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed; instructions cannot be counted without it")
    times = json.loads(_run([sys.executable, "-m", __spec__.name, "--part", "time"]).stdout)
    print(table(counted(), times).to_markdown(index=False))
    print(f"\n{EVENTS} events, 200 x 150 bins, one thread, AVX2; the clock runs at {1 / times['cycles']:.2f} GHz.")
    return None


if __name__ == "__main__":
    main()
