"""Jobs of an experiment: executed by local processes or a Dask cluster, one JSON file per finished job.

A job that fails becomes a row with its error; it is tried again when the experiment is run again. A job that succeeded
is never repeated, so an interrupted experiment goes on where it was.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from evslam.errors import ConfigError, DataError, EvslamError
from evslam.io.results import read_metrics, write_metrics

TASKS = {
    "egomotion": "evslam.eval.experiments.egomotion_task",
    "slam": "evslam.eval.experiments.slam_task",
    "spatial": "evslam.eval.experiments.spatial_task",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Sequence:
    """A recording on disk, or a sequence of the simulator with seed, duration (None: its own) and sensor.

    `family` groups sequences in tables.
    """

    name: str
    recording: str | None
    simulate: str | None = None
    seed: int = 0
    duration_s: float | None = None
    sensor: str = "standard"
    family: str = ""


@dataclass(frozen=True)
class Workplace:
    """Folders of recordings and of simulated sequences; no part of a job's identity."""

    data: Path
    simulated: Path


@dataclass(frozen=True)
class Job:
    """One sequence with one configuration and one seed.

    Attributes:
        task: key of TASKS, or a module by its dotted name; its function `run(job, recording)` returns the figures.
        sequence: what is processed.
        configuration: name under which the settings appear in tables.
        settings: of the task.
        seed: of everything random in the task.
    """

    task: str
    sequence: Sequence
    configuration: str
    settings: dict[str, Any]
    seed: int

    @property
    def file_name(self) -> str:
        """Name of the result: readable, and different for whatever makes the result different."""
        identity = {"task": self.task, "sequence": asdict(self.sequence), "settings": self.settings, "seed": self.seed}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        readable = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{self.sequence.name}-{self.configuration}-{self.seed}")
        return f"{readable}-{digest}.json"


def materialise(sequence: Sequence, workplace: Workplace) -> Path:
    """Path of the sequence's recording; a simulated one is made first, unless it is there.

    Several processes may ask at once: each simulates into a folder of its own, the first one to finish wins.

    Raises:
        DataError: the recording does not exist. ConfigError: the simulator does not know the sequence.
    """
    if sequence.recording is not None:
        path = workplace.data / sequence.recording
        if not path.exists():
            raise DataError(f"{path}: no such recording; give the folder that holds it with --data")
        return path
    from evslam.demo import write_simulation

    length = "" if sequence.duration_s is None else f"_{sequence.duration_s:g}s"
    sensor = "" if sequence.sensor == "standard" else f"_{sequence.sensor}"
    path = workplace.simulated / f"{sequence.simulate}_seed{sequence.seed}{length}{sensor}"
    if path.is_dir():
        return path
    workplace.simulated.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=workplace.simulated))
    try:
        write_simulation(str(sequence.simulate), part, sequence.seed, sequence.duration_s, sequence.sensor)
        os.rename(part, path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


def execute(job: Job, workplace: Workplace) -> Row:
    """Do one job; whatever goes wrong becomes the row's `error`, with the traceback unless it is one of ours."""
    started = time.perf_counter()
    row: Row = {"status": "done"}
    try:
        run = importlib.import_module(TASKS.get(job.task, job.task)).run
        row["figures"] = run(job, materialise(job.sequence, workplace))
    except EvslamError as error:
        row |= {"status": "failed", "error": str(error)}
    except Exception as error:  # the boundary of a job: one bad job must not end an experiment
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return row | {"seconds": time.perf_counter() - started}


@dataclass(frozen=True)
class Cache:
    """Folder with one JSON file per job, each written in one step."""

    folder: Path

    def load(self, job: Job) -> Row | None:
        """The row of a job that succeeded earlier, None when there is none or it cannot be read."""
        path = self.folder / job.file_name
        try:
            row = read_metrics(path) if path.is_file() else None
        except DataError:
            return None
        return row if row is not None and row.get("status") == "done" else None

    def save(self, job: Job, row: Row) -> Row:
        """Note the row of a job, with what the job was."""
        self.folder.mkdir(parents=True, exist_ok=True)
        full = {"job": asdict(job), **row}
        write_metrics(full, self.folder / job.file_name)
        return full


Executor = Callable[[list[Job], Workplace], Iterator[tuple[Job, Row]]]


def run_jobs(
    jobs: list[Job], cache: Cache, workplace: Workplace, executor: Executor, done: Callable[[Row], None] | None = None
) -> list[Row]:
    """Rows of all jobs in their order, from the cache where they are there, else from the executor.

    Args:
        jobs: to do.
        cache: where rows are kept; each is written as soon as it is known.
        workplace: folders of the recordings.
        executor: `local(...)` or `dask(...)`.
        done: called for every row as it becomes known.
    """
    rows: dict[str, Row] = {}
    for job in jobs:
        known = cache.load(job)
        if known is not None:
            rows[job.file_name] = known | {"job": asdict(job)}  # the configuration may have another name by now
            if done:
                done(known)
    open_jobs = list({job.file_name: job for job in jobs if job.file_name not in rows}.values())
    for job, row in executor(open_jobs, workplace):
        rows[job.file_name] = cache.save(job, row)
        if done:
            done(row)
    return [rows[job.file_name] for job in jobs]


def local(processes: int) -> Executor:
    """Executor with so many processes on this machine; one works in this process."""

    def in_processes(jobs: list[Job], workplace: Workplace) -> Iterator[tuple[Job, Row]]:
        left = {job.file_name: job for job in jobs}
        for job, row in _pooled(list(left.values()), workplace, processes):
            del left[job.file_name]
            yield job, row
        # A process died and took the others' work with it; nobody can tell whose fault it was, and some may not have
        # begun. Each job by itself now, twice if need be.
        for job in left.values():
            alone = list(_pooled([job], workplace, 1)) or list(_pooled([job], workplace, 1))
            yield from alone or [
                (job, {"status": "failed", "error": "its process died twice; is there enough memory?"})
            ]

    def in_this_process(jobs: list[Job], workplace: Workplace) -> Iterator[tuple[Job, Row]]:
        return ((job, execute(job, workplace)) for job in jobs)

    if processes < 1:
        raise ConfigError(f"--jobs is {processes}; give at least 1")
    return in_this_process if processes == 1 else in_processes


def _pooled(jobs: list[Job], workplace: Workplace, processes: int) -> Iterator[tuple[Job, Row]]:
    """Rows of the jobs that a pool could do before one of its processes died."""
    if not jobs:
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(execute, job, workplace): job for job in jobs}
        try:
            for future in as_completed(futures):
                try:
                    row = future.result()
                except BrokenProcessPool:
                    continue
                yield futures[future], row
        finally:
            pool.shutdown(cancel_futures=True)


def dask(address: str) -> Executor:
    """Executor that submits to the Dask scheduler at an address; a killed worker's jobs are done by the others.

    Raises:
        ConfigError: the extra is not installed, or nobody answers at the address.
    """
    try:
        import distributed  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ConfigError("--scheduler needs the package distributed; install evslam with the extra cluster") from None
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"no Dask scheduler at {address} ({reason}); check --scheduler") from error

    def on_cluster(jobs: list[Job], workplace: Workplace) -> Iterator[tuple[Job, Row]]:
        with client:
            futures = {client.submit(execute, job, workplace, key=job.file_name, pure=False): job for job in jobs}
            for future in distributed.as_completed(futures):
                error = future.exception()
                row = future.result() if error is None else {"status": "failed", "error": f"{error}; see the workers"}
                yield futures[future], row

    return on_cluster


def prepare(sequences: Iterable[Sequence], workplace: Workplace) -> None:
    """Simulate what has to be, one after the other, before jobs ask for it at the same time."""
    for sequence in sequences:
        if sequence.simulate is not None:
            materialise(sequence, workplace)
