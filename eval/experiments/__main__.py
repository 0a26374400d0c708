"""Run an experiment file: sequences x configurations x seeds, to tables and figures.

    python -m evslam.eval.experiments egomotion.yaml --data FOLDER --out runs/experiments --jobs 2

Results are kept per job under OUT/NAME/jobs: an interrupted experiment goes on where it was, and failed jobs are tried
again.
--scheduler tcp://HOST:PORT sends the jobs to a Dask cluster (install evslam with the extra `cluster`); its workers must
see the folders of recordings under the same paths.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from evslam.errors import EvslamError
from evslam.eval.experiments import slam_report
from evslam.eval.experiments.jobs import Cache, Job, Row, Workplace, dask, local, prepare, run_jobs
from evslam.eval.experiments.output import write_table
from evslam.eval.experiments.spec import Experiment, data_folder, load_experiment
from evslam.eval.tables import format_table


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong use, 3 when no job succeeded, 130 interrupted."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = _parser().parse_args(argv)
    try:
        experiment = load_experiment(arguments.experiment)
        rows = _execute(experiment, arguments)
        return 0 if write_report(experiment, rows, arguments.out / experiment.name) else 3
    except EvslamError as error:
        print(f"evslam.eval.experiments: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def _execute(experiment: Experiment, arguments: argparse.Namespace) -> list[Row]:
    out = arguments.out / experiment.name
    workplace = Workplace(data_folder(arguments.data), (arguments.out / "simulated").resolve())
    jobs = [job for job in experiment.jobs() if _is_wanted(job, arguments)]
    executor = local(arguments.jobs) if arguments.scheduler is None else dask(arguments.scheduler)
    prepare({job.sequence.name: job.sequence for job in jobs}.values(), workplace)
    with tqdm(total=len(jobs), desc=experiment.name, unit="job", dynamic_ncols=True) as bar, logging_redirect_tqdm():
        failed = 0

        def count(row: Row) -> None:
            nonlocal failed
            failed += row["status"] != "done"
            bar.set_postfix_str(f"{failed} failed")
            bar.update()

        return run_jobs(jobs, Cache(out / "jobs"), workplace, executor, count)


def _is_wanted(job: Job, arguments: argparse.Namespace) -> bool:
    sequences, configurations = arguments.only, arguments.configurations
    wanted = sequences is None or bool({job.sequence.name, job.sequence.family} & set(sequences))
    return wanted and (configurations is None or job.configuration in configurations)


def write_report(experiment: Experiment, rows: list[Row], out: Path) -> bool:
    """Tables and figures of an experiment, and the list of its failures; False when nothing succeeded."""
    done = [row for row in rows if row["status"] == "done"]
    failed = [row for row in rows if row["status"] != "done"]
    paths = write_table(_failures(failed), out, "failures") if failed else []
    if done:
        paths += _reports(experiment.task)(done, out)
    print(*paths, sep="\n")
    for row in failed:
        print(
            f"failed: {row['job']['sequence']['name']}, {row['job']['configuration']}: {row['error']}", file=sys.stderr
        )
    return bool(done)


def _failures(rows: list[Row]) -> pd.DataFrame:
    columns = [{**row["job"], "sequence": row["job"]["sequence"]["name"], "error": row["error"]} for row in rows]
    return pd.DataFrame(columns)[["sequence", "configuration", "seed", "error"]]


def _reports(task: str) -> Any:
    if task == "egomotion":
        from evslam.eval.experiments.egomotion_report import report

        return report
    if task == "spatial":
        from evslam.eval.experiments.spatial_report import report

        return report
    return _accuracy if task == "slam" else _figures


def _figures(rows: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """All figures of any other task, one row per job, nested names joined by dots."""
    frame = pd.DataFrame([{**row["job"], "sequence": row["job"]["sequence"]["name"]} for row in rows])
    frame = frame[["sequence", "configuration", "seed"]]
    return write_table(frame.join(pd.json_normalize([row["figures"] for row in rows])), out, "figures")


def _accuracy(rows: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """The table of `evslam eval` over all runs."""
    named = [
        row["figures"] | {"run": f"{row['job']['sequence']['name']}, {row['job']['configuration']}"} for row in rows
    ]
    paths = slam_report.report(rows, out)
    for form, suffix in (("csv", "csv"), ("markdown", "md"), ("latex", "tex")):
        paths.append(out / f"accuracy.{suffix}")
        paths[-1].write_text(format_table(named, form), encoding="utf-8")  # type: ignore[arg-type]
    return paths


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="YAML file, or the name of one that comes with evslam")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="recordings (default: EVSLAM_DATA, else here)")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), help="default: runs/experiments")
    parser.add_argument("--only", nargs="+", metavar="SEQUENCE", help="only these sequences or families of the file")
    parser.add_argument("--configurations", nargs="+", metavar="NAME", help="only these configurations of the file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="local processes (default: all cores)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler instead of local processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
