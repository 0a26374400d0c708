"""The embedded default: simulate a short recording, run, evaluate and draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evslam.config import load_config
from evslam.eval.evaluate import evaluate
from evslam.eval.report import write_evaluation
from evslam.eval.tables import format_table
from evslam.io.recording import write_recording
from evslam.io.results import prepare_run_dir
from evslam.progress import progress_bar
from evslam.runner import run
from evslam.session import RunOptions
from evslam.sim.sequences import DEMO_ROOM, sequence
from evslam.sim.simulation import simulate
from evslam.viz.scene import render_scene


def write_simulation(
    name: str, folder: Path, seed: int, duration_s: float | None = None, sensor: str = "standard"
) -> int:
    """Simulate a sequence into a recording folder, with progress; returns the number of events.

    Raises:
        ConfigError: unknown sequence or sensor. DataError: the folder holds a recording already.
    """
    config = sequence(name, seed=seed, duration=duration_s, sensor=sensor)
    simulation = simulate(config)
    with progress_bar(f"simulate {name}", config.duration_s) as bar:

        def show(share: float) -> None:
            bar.update(share * config.duration_s - bar.n)

        return write_recording(
            folder,
            simulation.events(show),
            camera=simulation.camera,
            trajectory=simulation.trajectory,
            imu=simulation.imu,
            depth=simulation.depth(),
            meta=simulation.meta,
        )


def demo(out: Path, *, overwrite: bool = False, view: bool = False) -> tuple[dict[str, Any], str, list[Path]]:
    """Simulate the demo sequence into OUT/recording and run it into OUT/run.

    Args:
        out: folder; a recording that an earlier demo left there is used again.
        overwrite: replace the results of an earlier demo.
        view: show the run live.

    Returns:
        Metrics of the run, the table of accuracy, and the pictures written.
    """
    recording, run_dir = out / "recording", out / "run"
    prepare_run_dir(run_dir, overwrite=overwrite)
    if not (recording / "meta.yaml").is_file():
        write_simulation(DEMO_ROOM, recording, seed=0)
    metrics = run(RunOptions(recording, run_dir, overwrite=overwrite, view=view), load_config(overrides=["mode=6dof"]))
    evaluation = evaluate(run_dir)
    write_evaluation(run_dir, evaluation)
    render_scene(run_dir, run_dir / "images" / "scene.png")
    pictures = sorted(run_dir.glob("*.png")) + sorted(run_dir.glob("*/*.png"))
    return metrics, format_table([evaluation.figures]), pictures
