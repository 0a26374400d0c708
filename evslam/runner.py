"""The loop around the SLAM step: reading, progress, outputs, interruption, resume."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from evslam.beside import in_thread
from evslam.config import Config, dump_config
from evslam.errors import ConfigError, DataError
from evslam.finish import finish_rotation, finish_spatial
from evslam.interruption import stop_on_signal
from evslam.io.results import prepare_run_dir, write_metrics
from evslam.map_file import load_map
from evslam.noise import load_kernels
from evslam.outputs import RunWriter, load_checkpoint, log_file, write_compensation, write_plots
from evslam.progress import progress_bar
from evslam.provenance import versions
from evslam.session import RunOptions, Session, open_session
from evslam.slam import RotationSlam, SpatialSlam
from evslam.steps import steps
from evslam.tally import Tally, run_metrics
from evslam.tracking.mode import ModeChoice, ModeWatch, choose_mode
from evslam.types import EventBatch, TrackingState, TrackResult
from evslam.viz.viewer import LiveViewer, StubViewer, Viewer

log = logging.getLogger(__name__)


def run(options: RunOptions, config: Config) -> dict[str, Any]:
    """Run SLAM on a recording and write a run folder.

    Ctrl-C ends the loop after the batch at hand and the few that have been seen already; everything so far is written,
    and `resume` goes on from there.

    Args:
        options: recording, output folder and flags.
        config: resolved configuration.

    Returns:
        The metrics that metrics.json holds; `status` is complete, lost or interrupted (bad_input in the
        file when the recording broke off with an error).

    Raises:
        DataError, CalibrationError, ConfigError: the input or the output folder cannot be used.
    """
    torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.seed)
    kernels = in_thread(load_kernels, config.noise)
    session = open_session(options, config)
    viewer: Viewer = LiveViewer() if options.view else StubViewer()
    out = prepare_run_dir(options.out, overwrite=options.overwrite, resume=options.resume)
    checkpoint = _checkpoint(out, config) if options.resume else None
    (out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    (out / "versions.txt").write_text("".join(f"{k}: {v}\n" for k, v in versions().items()), encoding="utf-8")
    logged = log_file(out / "run.log", append=checkpoint is not None)
    kernels()
    with threadpool_limits(limits=config.run.threads), logged:  # idle threads of matrix libraries only cost
        mode = checkpoint["mode"] if checkpoint else _mode(session, config, options)
        latency_us = round(1000 * config.sensor.latency_ms)
        writer = RunWriter(out, latency_us, resume=checkpoint is not None)
        loop = _Loop(session, config, mode, options, viewer, writer)
        if checkpoint:
            loop.restore(checkpoint)
        elif options.map is not None:
            loop.look_in(options.map)
        try:
            interrupted = loop.execute()
            while loop.switch is not None:
                loop = loop.restarted(loop.switch)
                interrupted = loop.execute()
        except DataError:  # in the middle of the recording: what was processed is worth keeping
            _finish(loop, out, "bad_input")
            raise
        finally:
            loop.writer.close()
            viewer.close()
        return _finish(loop, out, "interrupted" if interrupted else None)


class _Loop:
    """State of the loop over batches."""

    def __init__(
        self, session: Session, config: Config, mode: str, options: RunOptions, viewer: Viewer, writer: RunWriter
    ) -> None:
        self.session, self.config, self.mode, self.options = session, config, mode, options
        self.viewer, self.writer = viewer, writer
        self.slam: RotationSlam | SpatialSlam
        self.imu = session.imu(config)
        gyro = None if self.imu is None else self.imu.imu
        if mode == "rotation":
            self.slam, self.batching = RotationSlam(session.camera, config, gyro), config.batch
        else:
            self.slam, self.batching = SpatialSlam(session.camera, config, gyro), config.frame.batching
        self.tally = Tally()
        self.noise = session.noise_filter(config)
        self.next_us, self.saved = session.start_us, 0.0
        self.sharpest: tuple[EventBatch, TrackResult] | None = None
        may_change = config.mode == "auto" and options.map is None
        self.watch = ModeWatch(session.camera, config, mode) if may_change else None
        self.switch: ModeChoice | None = None  # due now
        self.switches: list[dict[str, Any]] = []  # that were made

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on where a checkpoint was taken."""
        self.slam.load_state_dict(checkpoint["slam"])
        self.tally = Tally(**checkpoint["tally"])
        self.noise.load_state_dict(checkpoint["noise"])
        self.next_us, self.switches = checkpoint["next_us"], checkpoint["switches"]
        if self.watch is not None:
            self.watch.load_state_dict(checkpoint["watch"])
        log.info("resumed at %.3f s", (self.next_us - self.session.start_us) * 1e-6)

    def look_in(self, path: Path) -> None:
        """Find the camera in the map of an earlier run."""
        assert isinstance(self.slam, SpatialSlam)
        self.slam.look_in(load_map(path, self.slam.canvas), self.session.start_us)

    def execute(self) -> bool:
        """Process batches to the end or to Ctrl-C; True when interrupted."""
        wall, cpu = time.perf_counter(), time.process_time()
        total_s, done_s = ((us - self.session.start_us) * 1e-6 for us in (self.session.stop_us, self.next_us))
        show = self.options.progress
        self._save()  # so that a run that is killed at once can be resumed, too
        with stop_on_signal() as stop, progress_bar(self.mode, total_s, done_s, show=show) as bar:
            config = replace(self.config, batch=self.batching)
            batches = self.session.batches(config, self.next_us, lambda: self.slam.pace, self.noise)
            for step in steps(self.slam, batches, lambda: bool(stop) or self._may_save()):
                batch, result = step.batch, step.result
                self.tally.add_latency(step.seconds)
                self.writer.write(result)
                self._note(batch, result)
                now = time.perf_counter()
                self.tally.wall_s += now - wall
                self.tally.cpu_s += time.process_time() - cpu
                wall, cpu = now, time.process_time()
                self._show(bar, batch, result)
                self._think_again(batch)
                if step.is_last if stop else self.switch is not None:
                    break
                if step.is_last and self._may_save():
                    self._save()
        if stop:
            self.switch = None
        elif self.switch is None and self.mode == "6dof" and self.slam.fit == 0:
            self._propose(ModeChoice("rotation", "no start was found to the end"))
        if self.switch is None:
            self._save()
        return bool(stop)

    def _think_again(self, batch: EventBatch) -> None:
        """Mode `auto`: does the mode still fit?"""
        choice = None if self.watch is None else self.watch.add(batch, self.slam.fit)
        if choice is not None:
            self._propose(choice)

    def _propose(self, choice: ModeChoice) -> None:
        """Go over to another mode, but to each only once."""
        if self.watch is not None and choice.mode not in [switch["mode"] for switch in self.switches]:
            self.switch = choice

    def restarted(self, choice: ModeChoice) -> _Loop:
        """From the beginning in another mode; the time spent counts."""
        at_s = (self.next_us - self.session.start_us) * 1e-6
        log.info(
            "mode auto goes over to %s after %.3f s and begins again, because %s", choice.mode, at_s, choice.reason
        )
        self.viewer.restart()
        other = _Loop(self.session, self.config, choice.mode, self.options, self.viewer, self.writer.restart())
        other.watch = ModeWatch(self.session.camera, self.config, choice.mode, self.next_us)
        other.switches = [*self.switches, {"at_s": at_s, **asdict(choice)}]
        other.tally.wall_s, other.tally.cpu_s = self.tally.wall_s, self.tally.cpu_s
        return other

    def finish(self) -> dict[str, Any]:
        """Final estimate and map, written; its time counts."""
        wall, cpu = time.perf_counter(), time.process_time()
        if isinstance(self.slam, RotationSlam):
            figures = finish_rotation(self.slam, self.config, self.writer)
        else:
            figures = finish_spatial(self.slam, self.config, self.writer, self.imu)
        self.tally.refine_wall_s = time.perf_counter() - wall
        self.tally.wall_s += self.tally.refine_wall_s
        self.tally.cpu_s += time.process_time() - cpu
        return figures

    def _note(self, batch: EventBatch, result: TrackResult) -> None:
        before = self.tally.last_state
        self.tally.add(batch, result)
        self.next_us = batch.stop_us
        if result.state.value != before:
            log.info("%.3f s: %s -> %s", result.t_ref_us * 1e-6, before, result.state.value)
        if result.state is TrackingState.TRACKING and (
            self.sharpest is None or result.contrast > self.sharpest[1].contrast
        ):
            self.sharpest = batch, result

    def _show(self, bar: tqdm[Any], batch: EventBatch, result: TrackResult) -> None:
        tally = self.tally
        speed = f"{tally.events / max(tally.wall_s, 1e-9) * 1e-6:.2f} Mev/s"
        factor = (self.next_us - self.session.start_us) * 1e-6 / max(tally.wall_s, 1e-9)
        self.viewer.update(result, lambda: self.slam.picture(batch, result), factor)
        bar.set_postfix_str(f"{speed}, {factor:.2f}x real time, {result.state.value}", refresh=False)
        bar.update(min(batch.duration_s, (bar.total or 0) - bar.n))

    def _may_save(self) -> bool:
        """The last checkpoint is old."""
        return time.perf_counter() - self.saved > self.config.run.checkpoint_s

    def _save(self) -> None:
        tally = asdict(self.tally)
        state = {"mode": self.mode, "slam": self.slam.state_dict(), "tally": tally, "next_us": self.next_us}
        state |= {"noise": self.noise.state_dict(self.next_us), "config": dump_config(self.config)}
        state |= {"switches": self.switches, "watch": None if self.watch is None else self.watch.state_dict()}
        self.writer.checkpoint(state)
        self.saved = time.perf_counter()


def _mode(session: Session, config: Config, options: RunOptions) -> str:
    if options.map is not None:
        if config.mode == "rotation":
            raise ConfigError("--map serves mode 6dof only; run without it, or with --mode 6dof")
        return "6dof"
    if config.mode != "auto":
        return config.mode
    enough = itertools.islice(session.batches(config, session.start_us), 10 * config.auto.num_batches)
    choice = choose_mode(enough, session.camera, config)
    log.info("mode auto: %s, because %s", choice.mode, choice.reason)
    return choice.mode


def _checkpoint(out: Path, config: Config) -> dict[str, Any]:
    checkpoint = load_checkpoint(out)
    if checkpoint["config"] != dump_config(config):
        raise ConfigError(f"{out}: the configuration differs from that of the run to resume; see {out / 'config.yaml'}")
    return checkpoint


def _finish(loop: _Loop, out: Path, cut_short: str | None) -> dict[str, Any]:
    """Map, pictures, plots and metrics.json of whatever was processed; `cut_short` is the status of a run that was."""
    figures = loop.finish()
    if loop.sharpest is not None and isinstance(loop.slam, RotationSlam):
        batch, result = loop.sharpest
        write_compensation(out, loop.slam.tracker.contrast(batch), result)
    write_plots(out)
    online_percent = 100 * loop.tally.posed_us / max(loop.next_us - loop.session.start_us, 1)
    lost = figures.get("placed_percent", online_percent) < 50
    status = cut_short or ("lost" if lost else "complete")
    metrics = {"status": status, **run_metrics(loop.options, loop.session, loop.mode, loop.tally)}
    metrics |= {"mode_switches": loop.switches, "seed": loop.config.seed, "noise": asdict(loop.noise.counts)} | figures
    write_metrics(metrics, out / "metrics.json")
    log.info("%s: %d batches, coverage %.1f %%", metrics["status"], metrics["batches"], metrics["coverage_percent"])
    return metrics
