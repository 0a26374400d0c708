"""Feeds damaged files to every reader: python -m evslam.eval.bench.fuzz [--inputs 100000].

A file may be read, with what was lost being counted, or refused by an error that names the file and a remedy. Anything
else is a finding: another exception, a crash, more than ten seconds, more than two gigabytes, events that are no
beginning of the original when a file was only cut off. Findings are kept in --keep.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import multiprocessing
import queue
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

from evslam.errors import EvslamError
from evslam.eval.bench.format_files import SAMPLE_FORMATS, SampleFormat
from evslam.eval.bench.mutations import mutated
from evslam.io.recording import open_recording
from evslam.types import Events

NUM_EVENTS = 300
LIMIT_S = 10
LIMIT_BYTES = 2 << 30
READ, READ_WITH_LOSS, REFUSED = "read", "read, loss counted", "refused"


class TooSlow(Exception):
    """An input took longer than the limit."""


@dataclass(frozen=True)
class Original:
    """A whole file of a format, its events, and the name under which damaged ones are written."""

    kind: SampleFormat
    content: bytes
    events: Events
    path: Path

    @staticmethod
    def of(kind: SampleFormat, folder: Path) -> Original:
        """Writes a whole file of the format."""
        events = kind.events(NUM_EVENTS)
        kind.write(kind.file(folder), events)
        return Original(kind, kind.file(folder).read_bytes(), events, kind.file(folder))


def check(original: Original, seed: int) -> str:
    """Damages the file as the seed says and reads it; the outcome.

    Raises:
        Exception: whatever is a finding.
    """
    content, is_cut = mutated(original.content, random.Random(f"{original.kind.name} {seed}"))
    original.path.write_bytes(content)
    try:
        recording = open_recording(original.path)
        reader = recording.reader
        events = Events.concatenate(list(reader.read()))
        middle = (reader.t_first_us + reader.t_last_us) // 2
        for _ in reader.read(middle, middle + 1_000):
            pass
        loss = reader.counts.problems()
        _ = recording.camera, recording.imu, recording.groundtruth, list(reader.frames())
    except EvslamError as error:
        if original.path.name not in str(error) and "evslam-" not in str(error):
            raise AssertionError(f"the refusal does not name the file: {error}") from error
        if not any(mark in str(error) for mark in (";", ": give ", ": check ")):
            raise AssertionError(f"the refusal names no remedy: {error}") from error
        return REFUSED
    if is_cut:
        for name in "txyp":
            found, expected = getattr(events, name), getattr(original.events, name)[: len(events)]
            if not np.array_equal(found, expected):
                raise AssertionError(f"{name} of the cut-off file is no beginning of the original")
    return READ_WITH_LOSS if loss else READ


def _worker(names: list[str], first: int, stop: int, done: Synchronized[int], results: Any, keep: Path) -> None:
    """Checks inputs first to stop; input i is of format i modulo their number."""
    logging.disable(logging.CRITICAL)
    kinds = [kind for kind in SAMPLE_FORMATS if kind.name in names]
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        originals = [Original.of(kind, Path(folder)) for kind in kinds]
        for original in originals:  # compiles what is compiled before time and memory are limited
            original.path.write_bytes(original.content)
            list(open_recording(original.path).reader.read())
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + LIMIT_BYTES, in_use + LIMIT_BYTES))
        signal.signal(signal.SIGALRM, _raise_too_slow)
        for index in range(first, stop):
            original = originals[index % len(originals)]
            signal.alarm(LIMIT_S)
            faulthandler.dump_traceback_later(3 * LIMIT_S, exit=True)
            try:
                outcome = check(original, index)
            except Exception as error:  # every kind of exception is a finding
                outcome = f"{type(error).__name__}: {error}"[:300]
                (keep / f"{index}{original.kind.suffix}").write_bytes(original.path.read_bytes())
                (keep / f"{index}.trace").write_text(traceback.format_exc(), encoding="utf-8")
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            outcomes[original.kind.name, outcome] += 1
            done.value = index + 1
            if (index + 1) % 500 == 0 or index + 1 == stop:
                results.put(dict(outcomes))
                outcomes.clear()


def _raise_too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {LIMIT_S} s")


def run(names: list[str], num_inputs: int, keep: Path, first: int = 0) -> Counter[tuple[str, str]]:
    """Checks so many inputs in a process of its own, which is started again after a crash; outcomes by format."""
    context = multiprocessing.get_context("spawn")
    outcomes: Counter[tuple[str, str]] = Counter()
    stop = first + num_inputs
    while first < stop:
        done, results = context.Value("q", first), context.Queue()
        process = context.Process(target=_worker, args=(names, first, stop, done, results, keep))
        process.start()
        while process.is_alive() or not results.empty():
            try:
                outcomes.update(results.get(timeout=1))
                print(f"\r{done.value}/{stop}", end="", file=sys.stderr)
            except queue.Empty:
                continue
        process.join()
        if process.exitcode != 0:
            kinds = [kind.name for kind in SAMPLE_FORMATS if kind.name in names]
            crashed = done.value
            outcomes[kinds[crashed % len(kinds)], f"process ended with {process.exitcode} at input {crashed}"] += 1
            first = crashed + 1
        else:
            first = stop
    return outcomes


def main() -> int:
    """Prints a table of outcomes; status 1 when there are findings."""
    parser = argparse.ArgumentParser(description="Damaged files for every reader.")
    parser.add_argument("--inputs", type=int, default=100_000, help="number of damaged files (default: 100000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input; numbers are seeds")
    parser.add_argument("--formats", nargs="*", default=[kind.name for kind in SAMPLE_FORMATS])
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for findings")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    outcomes = run(arguments.formats, arguments.inputs, arguments.keep, arguments.first)
    print(file=sys.stderr)
    columns = (READ, READ_WITH_LOSS, REFUSED)
    findings = {key: number for key, number in outcomes.items() if key[1] not in columns}
    rows = []
    for name in arguments.formats:
        wrong = sum(number for (kind, _), number in findings.items() if kind == name)
        counts = [outcomes[name, column] for column in columns]
        rows.append(
            {"format": name, "inputs": sum(counts) + wrong}
            | dict(zip(columns, counts, strict=True))
            | {"findings": wrong}
        )
    print(pd.DataFrame(rows).to_markdown(index=False))
    print(f"{sum(outcomes.values())} inputs in {time.perf_counter() - start:.0f} s, {sum(findings.values())} findings")
    for (name, outcome), number in sorted(findings.items()):
        print(f"{number} x {name}: {outcome}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
