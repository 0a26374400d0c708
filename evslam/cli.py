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

from evslam import __version__
from evslam.errors import EvslamError

EXIT_STATUS = {"complete": 0, "lost": 3, "interrupted": 130}
FORMS = ("csv", "latex", "markdown")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `evslam` command; returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the kernels are single-threaded; idle pools only cost
    arguments = _parser().parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("evslam").setLevel(level)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evslam", description="Event-camera SLAM on a CPU.")
    parser.add_argument("--version", action="version", version=f"evslam {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    _add_egomotion(commands)
    _add_results(commands)
    _add_recordings(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="simulate a short recording, run, evaluate, draw")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder to write (default: runs/demo)")
    demo.add_argument("--overwrite", action="store_true", help="replace the results of an earlier demo")
    demo.add_argument("--view", action="store_true", help="show the run live in a window")
    demo.set_defaults(command=_demo)


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run SLAM on a recording")
    run.add_argument("recording", type=Path, help="folder or file; the format is recognised by content")
    run.add_argument("--mode", help="auto (default), rotation or 6dof")
    run.add_argument("--config", type=Path, help="YAML file with keys to change")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one configuration key")
    run.add_argument("--calib", type=Path, help="calibration file instead of the recording's own; FILE#CAMERA")
    run.add_argument("--fov", type=float, metavar="DEG", help="without calibration: horizontal field of view")
    run.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds to skip at the beginning")
    run.add_argument("--duration", type=float, metavar="S", help="seconds to process")
    run.add_argument("--out", type=Path, help="folder to write (default: runs/NAME)")
    run.add_argument("--seed", type=int, help="random seed")
    run.add_argument("--map", type=Path, help="folder or map.pt of an earlier run, to be found in (6dof only)")
    run.add_argument(
        "--imu", action=argparse.BooleanOptionalAction, help="use the IMU: quick turns, latency; in 6dof metres"
    )
    run.add_argument(
        "--refine", action=argparse.BooleanOptionalAction, help="global refinement at the end (default: yes)"
    )
    run.add_argument("--view", action="store_true", help="show the run live in a window")
    run.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")
    run.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    run.set_defaults(command=_run)


def _add_egomotion(commands: Any) -> None:
    egomotion = commands.add_parser("egomotion", help="velocity of every packet of events, without a map")
    egomotion.add_argument("recording", type=Path, help="folder or file; the format is recognised by content")
    egomotion.add_argument("--motion", required=True, choices=("rotation", "translation", "6dof"))
    egomotion.add_argument("--kernel", help="bin kernel (default: that of the tracker)")
    egomotion.add_argument("--gradient", help="gradient estimator (default: that of the tracker)")
    egomotion.add_argument("--optimiser", default="newton", help="maximiser (default: newton)")
    egomotion.add_argument("--config", type=Path, help="YAML file with keys to change")
    egomotion.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    egomotion.add_argument("--calib", type=Path, help="calibration file instead of the recording's own; FILE#CAMERA")
    egomotion.add_argument("--fov", type=float, metavar="DEG", help="without calibration: horizontal field of view")
    egomotion.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds to skip at the beginning")
    egomotion.add_argument("--duration", type=float, metavar="S", help="seconds to process")
    egomotion.add_argument("--out", type=Path, help="folder to write (default: runs/NAME_egomotion)")
    egomotion.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")
    egomotion.set_defaults(command=_egomotion)


def _add_results(commands: Any) -> None:
    evaluate = commands.add_parser("eval", help="accuracy of runs against ground truth")
    evaluate.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR")
    evaluate.add_argument("--groundtruth", type=Path, help="pose file of any known form, not the recording's own")
    _add_pose_options(evaluate)
    evaluate.add_argument("--t0", type=float, default=0.1, metavar="S", help="start alignment (default 0.1; real: 1)")
    form = evaluate.add_mutually_exclusive_group()
    for name in FORMS:
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="text")
    evaluate.set_defaults(command=_eval)
    view = commands.add_parser("view", help="show a run in 3-D")
    view.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    view.add_argument("--save", type=Path, metavar="PNG", help="write a picture instead; needs no display")
    view.set_defaults(command=_view)


def _add_pose_options(command: Any) -> None:
    command.add_argument("--gt-unit", choices=("s", "ms", "us", "ns"), help="unit of the ground truth's times")
    command.add_argument("--gt-order", choices=("xyzw", "wxyz"), help="order of its quaternions' numbers")
    command.add_argument("--gt-inverse", action="store_true", help="its poses map the world to the camera")
    command.add_argument("--gt-times", type=Path, metavar="FILE", help="its times, one a line (KITTI)")
    command.add_argument("--gt-offset", type=float, default=0.0, metavar="S", help="seconds to add to its times")
    command.add_argument(
        "--hand-eye", metavar="T", help='pose of the camera in its body: "x y z qx qy qz qw", FILE#KEY'
    )


def _add_recordings(commands: Any) -> None:
    info = commands.add_parser("info", help="what a recording holds, and problems found")
    info.add_argument("recording", type=Path)
    info.add_argument("--calib", type=Path, help="calibration file instead of the recording's own; FILE#CAMERA")
    info.add_argument("--fov", type=float, metavar="DEG", help="without calibration: horizontal field of view")
    info.add_argument("--groundtruth", type=Path, help="pose file of any known form instead of the recording's own")
    _add_pose_options(info)
    info.add_argument("--save", type=Path, metavar="PNG", help="write a picture: events, pixels, rate over time")
    info.set_defaults(command=_info)
    convert = commands.add_parser("convert", help="any readable recording to evslam HDF5")
    convert.add_argument("recording", type=Path)
    convert.add_argument("out", type=Path, help="a new folder, or an .h5 file for the events alone")
    convert.add_argument("--calib", type=Path, help="calibration file instead of the recording's own")
    convert.set_defaults(command=_convert)
    simulate = commands.add_parser("simulate", help="make a recording with the built-in simulator")
    simulate.add_argument("name", help="sequence; an unknown name lists them")
    simulate.add_argument("--out", type=Path, required=True, help="new folder")
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument("--duration", type=float, metavar="S", help="seconds (default: the sequence's own)")
    simulate.add_argument(
        "--sensor", default="standard", help="standard, or sparse: higher thresholds, twice the noise"
    )
    simulate.set_defaults(command=_simulate)


if __name__ == "__main__":
    sys.exit(main())
