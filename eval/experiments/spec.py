"""Experiment files: YAML to the list of jobs.

task: egomotion                  # a key of evslam.eval.experiments.jobs.TASKS
seeds: [0]
settings: {num_events: 20000}    # of every job; the task says which keys it knows
sequences:
  shapes: {recording: real/shapes_rotation_30k, settings: {motion: rotation}}
  pan: {simulate: rot_pan, seed: 5, duration_s: 2.0, settings: {motion: rotation}}
  desk: {simulate: desk, seed: [41, 42], sensor: [standard, sparse], start_s: [0, 3]}  # a family: every combination
grid: {kernel: [rect, linear], gradient: [raw, functional]}   # every combination, named by its values
configurations:                                               # and single ones, by name
  ladder: {kernel: quadratic, optimiser: bfgs}
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evslam.config import parse_yaml
from evslam.errors import ConfigError, DataError
from evslam.eval.experiments.jobs import TASKS, Job, Sequence
from evslam.io.files import read_text

DATA_VARIABLE = "EVSLAM_DATA"
_KEYS = {"task", "seeds", "settings", "sequences", "grid", "configurations", "reference"}
_LISTS = ("recording", "seed", "sensor", "start_s")  # of a family
_SEQUENCE_KEYS = {*_LISTS, "simulate", "duration_s", "settings"}


@dataclass(frozen=True)
class Experiment:
    """An experiment file.

    Attributes:
        name: that of the file.
        task: what a job does.
        sequences: recordings by name, each with its own settings.
        configurations: settings by name.
        settings: of every job, weaker than those of sequence and configuration.
        seeds: of the jobs.
    """

    name: str
    task: str
    sequences: dict[str, tuple[Sequence, dict[str, Any]]]
    configurations: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    seeds: tuple[int, ...]

    def jobs(self) -> list[Job]:
        """Every sequence with every configuration and seed."""
        return [
            Job(self.task, sequence, name, self.settings | own | settings, seed)
            for sequence, own in self.sequences.values()
            for name, settings in self.configurations.items()
            for seed in self.seeds
        ]


def find_experiment(name: str) -> tuple[str, str]:
    """Stem and text of an experiment file: a path, or the name of a file that is installed with evslam.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path.stem, read_text(path)
    folder = resources.files("evslam.configs").joinpath("experiments")
    installed = folder.joinpath(name if name.endswith(".yaml") else f"{name}.yaml")
    if not installed.is_file():
        known = sorted(each.name for each in folder.iterdir() if each.name.endswith(".yaml"))
        raise ConfigError(f"experiment {name!r} does not exist; give a file or one of {', '.join(known)}")
    return installed.name.removesuffix(".yaml"), installed.read_text(encoding="utf-8")


def read_yaml(name: str) -> Any:
    """Content of an experiment file, by path or by the name of an installed one.

    Raises:
        ConfigError: it does not exist or is not valid YAML.
    """
    return parse_yaml(find_experiment(name)[1], name)


def load_experiment(name: str) -> Experiment:
    """Read an experiment file.

    Raises:
        ConfigError: it does not exist, is not valid YAML, or has unknown or missing keys.
    """
    tree = read_yaml(name)
    _check_keys(tree, _KEYS, {"task", "sequences"}, name)
    if tree["task"] not in TASKS and not _is_module(str(tree["task"])):
        raise ConfigError(f"{name}: task {tree['task']!r} does not exist; give {', '.join(TASKS)} or a module")
    return Experiment(
        name=find_experiment(name)[0],
        task=tree["task"],
        sequences={
            sequence.name: (sequence, settings)
            for key, each in _mapping(tree, "sequences", name).items()
            for sequence, settings in _sequences(key, each, name)
        },
        configurations=dict(_grid(_mapping(tree, "grid", name))) | _mapping(tree, "configurations", name),
        settings=_mapping(tree, "settings", name),
        seeds=tuple(tree.get("seeds", [0])),
    )


def data_folder(given: Path | None) -> Path:
    """Folder that relative recordings are looked for in: as given, else EVSLAM_DATA, else the current one.

    Raises:
        DataError: it does not exist.
    """
    folder = given or Path(os.environ.get(DATA_VARIABLE, "."))
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of recordings; give one with --data or {DATA_VARIABLE}")
    return folder.resolve()


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _sequences(family: str, entry: Any, source: str) -> Iterator[tuple[Sequence, dict[str, Any]]]:
    """The sequences of an entry with their settings: one, or every combination of the lists in it."""
    _check_keys(entry, _SEQUENCE_KEYS, set(), f"{source}, sequence {family}")
    if ("recording" in entry) == ("simulate" in entry):
        raise ConfigError(f"{source}, sequence {family}: give either recording or simulate")
    given = {key: entry[key] if isinstance(entry[key], list) else [entry[key]] for key in _LISTS if key in entry}
    listed = [key for key in given if isinstance(entry[key], list)]
    for values in itertools.product(*given.values()):
        one = dict(zip(given, values, strict=True))
        settings = dict(entry.get("settings") or {})
        if "start_s" in one:
            settings["start_s"] = one["start_s"]
        yield (
            Sequence(
                name=" ".join([family, *(f"{key} {one[key]}" for key in listed)]),
                recording=one.get("recording"),
                simulate=entry.get("simulate"),
                seed=int(one.get("seed", 0)),
                duration_s=entry.get("duration_s"),
                sensor=str(one.get("sensor", "standard")),
                family=family,
            ),
            settings,
        )


def _grid(grid: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of a grid's values under the name `a/b/c`."""
    if not grid:
        return
    for values in itertools.product(*grid.values()):
        yield "/".join(str(each) for each in values), dict(zip(grid, values, strict=True))


def _mapping(tree: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    value = tree.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: {key} is {value!r}; give a mapping")
    return value


def _check_keys(tree: Any, known: set[str], needed: set[str], source: str) -> None:
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{source} holds {type(tree).__name__}; a mapping with {', '.join(sorted(known))} is expected"
        )
    wrong, missing = sorted(set(map(str, tree)) - known), sorted(needed - set(tree))
    if wrong or missing:
        what = f"unknown key {wrong[0]}" if wrong else f"key {missing[0]} is missing"
        raise ConfigError(f"{source}: {what}; known keys are {', '.join(sorted(known))}")
