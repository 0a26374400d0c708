"""The commands of the command line and their options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evslam import __version__

FORMS = ("csv", "latex", "markdown")
Command = Callable[[argparse.Namespace], int]


def parser_of(work: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of `evslam`; what it returns tells the chosen command's work as `command`.

    Args:
        work: for the name of each command what it does; returns the exit status.
    """
    parser = argparse.ArgumentParser(prog="evslam", description="Event-camera SLAM on a CPU.")
    parser.add_argument("--version", action="version", version=f"evslam {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_demo, _add_run, _add_egomotion, _add_results, _add_recordings):
        add(commands)
    for name, command in commands.choices.items():
        command.set_defaults(command=work[name])
    return parser


def _number(text: str) -> float:
    """A finite number; `float` takes "nan" and "inf", too."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="simulate a short recording, run, evaluate, draw")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder to write (default: runs/demo)")
    demo.add_argument("--overwrite", action="store_true", help="replace the results of an earlier demo")
    demo.add_argument("--view", action="store_true", help="show the run live in a window")


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run SLAM on a recording")
    run.add_argument("recording", type=Path, help="folder or file; the format is recognised by content")
    run.add_argument("--mode", help="auto (default), rotation or 6dof")
    _add_what_is_processed(run)
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


def _add_egomotion(commands: Any) -> None:
    egomotion = commands.add_parser("egomotion", help="velocity of every packet of events, without a map")
    egomotion.add_argument("recording", type=Path, help="folder or file; the format is recognised by content")
    egomotion.add_argument("--motion", required=True, choices=("rotation", "translation", "6dof"))
    egomotion.add_argument("--kernel", help="bin kernel (default: that of the tracker)")
    egomotion.add_argument("--gradient", help="gradient estimator (default: that of the tracker)")
    egomotion.add_argument("--optimiser", default="newton", help="maximiser (default: newton)")
    _add_what_is_processed(egomotion)
    egomotion.add_argument("--out", type=Path, help="folder to write (default: runs/NAME_egomotion)")
    egomotion.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")


def _add_what_is_processed(command: Any) -> None:
    command.add_argument("--config", type=Path, help="YAML file with keys to change")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one configuration key")
    command.add_argument("--calib", type=Path, help="calibration file instead of the recording's own; FILE#CAMERA")
    command.add_argument("--fov", type=_number, metavar="DEG", help="without calibration: horizontal field of view")
    command.add_argument("--start", type=_number, default=0.0, metavar="S", help="seconds to skip at the beginning")
    command.add_argument("--duration", type=_number, metavar="S", help="seconds to process")


def _add_results(commands: Any) -> None:
    evaluate = commands.add_parser("eval", help="accuracy of runs against ground truth")
    evaluate.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR")
    evaluate.add_argument("--groundtruth", type=Path, help="pose file of any known form, not the recording's own")
    _add_pose_options(evaluate)
    evaluate.add_argument("--t0", type=_number, default=0.1, metavar="S", help="start alignment (default 0.1; real: 1)")
    form = evaluate.add_mutually_exclusive_group()
    for name in FORMS:
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="text")
    view = commands.add_parser("view", help="show a run in 3-D")
    view.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    view.add_argument("--save", type=Path, metavar="PNG", help="write a picture instead; needs no display")


def _add_pose_options(command: Any) -> None:
    command.add_argument("--gt-unit", choices=("s", "ms", "us", "ns"), help="unit of the ground truth's times")
    command.add_argument("--gt-order", choices=("xyzw", "wxyz"), help="order of its quaternions' numbers")
    command.add_argument("--gt-inverse", action="store_true", help="its poses map the world to the camera")
    command.add_argument("--gt-times", type=Path, metavar="FILE", help="its times, one a line (KITTI)")
    command.add_argument("--gt-offset", type=_number, default=0.0, metavar="S", help="seconds to add to its times")
    command.add_argument(
        "--hand-eye", metavar="T", help='pose of the camera in its body: "x y z qx qy qz qw", FILE#KEY'
    )


def _add_recordings(commands: Any) -> None:
    info = commands.add_parser("info", help="what a recording holds, and problems found")
    info.add_argument("recording", type=Path)
    info.add_argument("--calib", type=Path, help="calibration file instead of the recording's own; FILE#CAMERA")
    info.add_argument("--fov", type=_number, metavar="DEG", help="without calibration: horizontal field of view")
    info.add_argument("--groundtruth", type=Path, help="pose file of any known form instead of the recording's own")
    _add_pose_options(info)
    info.add_argument("--save", type=Path, metavar="PNG", help="write a picture: events, pixels, rate over time")
    convert = commands.add_parser("convert", help="any readable recording to evslam HDF5")
    convert.add_argument("recording", type=Path)
    convert.add_argument("out", type=Path, help="a new folder, or an .h5 file for the events alone")
    convert.add_argument("--calib", type=Path, help="calibration file instead of the recording's own")
    simulate = commands.add_parser("simulate", help="make a recording with the built-in simulator")
    simulate.add_argument("name", help="sequence; an unknown name lists them")
    simulate.add_argument("--out", type=Path, required=True, help="new folder")
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument("--duration", type=_number, metavar="S", help="seconds (default: the sequence's own)")
    simulate.add_argument(
        "--sensor", default="standard", help="standard, or sparse: higher thresholds, twice the noise"
    )
