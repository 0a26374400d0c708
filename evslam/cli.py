"""Command line: `evslam demo | run | egomotion | eval | view | info | convert | simulate`.

Exit status: 0 done; 2 wrong use or bad input (one line on stderr, no traceback); 3 finished, but tracking was lost for
more than half of the recording; 130 interrupted, results written.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evslam.cli_options import parser_of
from evslam.errors import EvslamError
from evslam.kernel_cache import forget_stale_kernels

EXIT_STATUS = {"complete": 0, "lost": 3, "interrupted": 130}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `evslam` command; returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the kernels are single-threaded; idle pools only cost
    os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")  # which swaps sys.stderr, in any thread
    arguments = parser_of(_WORK).parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("evslam").setLevel(level)
    forget_stale_kernels()
    try:
        return int(arguments.command(arguments))
    except EvslamError as error:
        print(f"evslam: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("evslam: interrupted", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    from evslam.runner import run
    from evslam.session import RunOptions

    out = arguments.out or Path("runs") / arguments.recording.resolve().stem
    options = RunOptions(
        recording=arguments.recording,
        out=out,
        calib=arguments.calib,
        start_s=arguments.start,
        duration_s=arguments.duration,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        view=arguments.view,
        fov_deg=arguments.fov,
        map=arguments.map,
    )
    metrics = run(options, _config(arguments))
    print(_summary(metrics, out))
    return EXIT_STATUS[metrics["status"]]


def _config(arguments: argparse.Namespace) -> Any:
    from evslam.config import load_config

    overrides = list(arguments.set)
    if arguments.mode is not None:
        overrides.append(f"mode={arguments.mode}")
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    if arguments.imu is not None:
        overrides.append(f"gyro.use={str(arguments.imu).lower()}")
    if arguments.refine is not None:
        refine = str(arguments.refine).lower()
        overrides += [f"adjust.refine={refine}", f"refine.use={refine}"]  # of mode rotation, and of mode 6dof
    return load_config(arguments.config, overrides)


def _summary(metrics: dict[str, Any], out: Path) -> str:
    return (
        f"{metrics['status']}: mode {metrics['mode']}, {metrics['duration_s']:.2f} s, {metrics['events']} events, "
        f"{metrics['batches']} batches, coverage {metrics['coverage_percent']:.1f} %, "
        f"losses {metrics['losses']}, {metrics['real_time_factor']:.2f}x real time, "
        f"{metrics['events_per_second'] * 1e-6:.2f} million events/s, {metrics['peak_memory_mb']:.0f} MB -> {out}"
    )


def _egomotion(arguments: argparse.Namespace) -> int:
    import json

    from evslam.config import load_config
    from evslam.egomotion import run
    from evslam.eval.egomotion import write_summary
    from evslam.packet_problem import Method
    from evslam.session import RunOptions, open_session

    chosen = {"kernel": arguments.kernel, "gradient": arguments.gradient}
    overrides = [*arguments.set, *(f"tracker.{key}={name}" for key, name in chosen.items() if name is not None)]
    config = load_config(arguments.config, overrides)
    out = arguments.out or Path("runs") / f"{arguments.recording.resolve().stem}_egomotion"
    stretch = {"start_s": arguments.start, "duration_s": arguments.duration, "overwrite": arguments.overwrite}
    stretch["fov_deg"] = arguments.fov
    options = RunOptions(arguments.recording, out, arguments.calib, **stretch)
    session = open_session(options, config)
    motions = run(session, options, config, Method.from_config(config, arguments.motion, arguments.optimiser))
    figures = write_summary(session.recording, motions, arguments.motion, out)
    print(json.dumps(figures, indent=2), f"written to {out}", sep="\n")
    return 0


def _pose_options(arguments: argparse.Namespace) -> Any:
    """How to understand the ground truth, None where no option says anything."""
    from evslam.io.groundtruth import PoseOptions
    from evslam.io.transforms import parse_transform

    options = PoseOptions(
        unit=arguments.gt_unit,
        order=arguments.gt_order,
        inverse=arguments.gt_inverse or None,
        times=arguments.gt_times,
        T_body_cam=None if arguments.hand_eye is None else tuple(parse_transform(arguments.hand_eye).tolist()),
        offset_s=arguments.gt_offset,
    )
    return None if options == PoseOptions() else options


def _eval(arguments: argparse.Namespace) -> int:
    from evslam.eval.evaluate import evaluate
    from evslam.eval.report import write_evaluation
    from evslam.eval.tables import format_table

    figures, options = [], _pose_options(arguments)
    for run_dir in arguments.run_dirs:
        evaluation = evaluate(run_dir, arguments.groundtruth, t0_s=arguments.t0, options=options)
        write_evaluation(run_dir, evaluation)
        for finding in evaluation.figures.get("groundtruth_findings", ()):
            logging.getLogger("evslam").warning("%s: %s", run_dir, finding)
        figures.append(evaluation.figures)
    print(format_table(figures, arguments.form))
    return 0


def _view(arguments: argparse.Namespace) -> int:
    from evslam.viz.scene import render_scene, show_scene

    if arguments.save is None:
        show_scene(arguments.run_dir)
    else:
        print(render_scene(arguments.run_dir, arguments.save))
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from evslam.config import load_config
    from evslam.info import describe, sample
    from evslam.io.recording import open_recording
    from evslam.viz.survey import save_survey

    recording = open_recording(arguments.recording, calib=arguments.calib, fov_deg=arguments.fov)
    if arguments.groundtruth is not None or _pose_options(arguments) is not None:
        recording = recording.with_groundtruth(arguments.groundtruth, _pose_options(arguments))
    description = describe(recording, load_config().noise)
    for title, text in description.lines.items():
        print(f"{title:14s} {text}")
    for problem in description.problems or ("none found",):
        print(f"{'problems':14s} {problem}")
    if arguments.save is not None:
        found = description.survey
        events = sample(recording, found)
        print(save_survey(arguments.save, events, found.counts, found.hot, found.edges_us * 1e-6, found.rate))
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from evslam.io.convert import convert_recording
    from evslam.io.recording import open_recording
    from evslam.progress import progress_bar

    recording = open_recording(arguments.recording, calib=arguments.calib)
    span_s = (recording.reader.t_last_us - recording.reader.t_first_us) * 1e-6
    with progress_bar("writing and reading back", 2 * span_s) as bar:
        count = convert_recording(recording, arguments.out, bar.update)
    for problem in recording.reader.counts.problems():
        print(problem)
    print(f"{count} events written to {arguments.out} and read back")
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    from evslam.demo import write_simulation

    count = write_simulation(arguments.name, arguments.out, arguments.seed, arguments.duration, arguments.sensor)
    print(f"{count} events of {arguments.name} (seed {arguments.seed}) written to {arguments.out}")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from evslam.demo import demo

    metrics, table, pictures = demo(arguments.out, overwrite=arguments.overwrite, view=arguments.view)
    run_dir = arguments.out / "run"
    print(table, *pictures, _summary(metrics, run_dir), sep="\n")
    return EXIT_STATUS[metrics["status"]]


_WORK = {
    "demo": _demo,
    "run": _run,
    "egomotion": _egomotion,
    "eval": _eval,
    "view": _view,
    "info": _info,
    "convert": _convert,
    "simulate": _simulate,
}


if __name__ == "__main__":
    sys.exit(main())
