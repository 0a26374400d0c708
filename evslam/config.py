"""Typed, frozen configuration: dataclasses, strict YAML merge, `key=value` overrides.

`configs/default.yaml` holds the one default for all sequences; a file given by the user and then `--set`
overrides are merged over it. An unknown key is an error that names the nearest valid key.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from evslam.errors import ConfigError
from evslam.settings import (
    AdjustConfig,
    AutoConfig,
    BatchConfig,
    GyroConfig,
    MapConfig,
    NoiseConfig,
    RelocaliseConfig,
    RunConfig,
    SensorConfig,
    TrackerConfig,
)
from evslam.settings_inertial import InertialConfig
from evslam.settings_mapping import (
    CullConfig,
    EdgeConfig,
    LandmarkConfig,
    LinkConfig,
    LoopConfig,
    PlacesConfig,
    RefineConfig,
    SearchConfig,
    WindowConfig,
)
from evslam.settings_tracking import (
    BootstrapConfig,
    EdgePoseConfig,
    FrameConfig,
    KeyframeConfig,
    PointsConfig,
    PoseConfig,
    UnionConfig,
)

T = TypeVar("T")

MODES = ("auto", "rotation", "6dof")
EDGE_OBJECTIVES = ("search", "alignment", "contrast", "none")


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the compiled one, where there is one


@dataclass(frozen=True)
class Config:
    """Everything a run depends on besides the recording and its calibration."""

    mode: str
    seed: int
    sensor: SensorConfig
    noise: NoiseConfig
    batch: BatchConfig
    tracker: TrackerConfig
    adjust: AdjustConfig
    relocalise: RelocaliseConfig
    frame: FrameConfig
    points: PointsConfig
    bootstrap: BootstrapConfig
    pose: PoseConfig
    keyframe: KeyframeConfig
    landmark: LandmarkConfig
    link: LinkConfig
    edge_pose: EdgePoseConfig
    union: UnionConfig
    window: WindowConfig
    refine: RefineConfig
    places: PlacesConfig
    search: SearchConfig
    loop: LoopConfig
    cull: CullConfig
    edges: EdgeConfig
    gyro: GyroConfig
    inertial: InertialConfig
    auto: AutoConfig
    map: MapConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        if self.edge_pose.objective not in EDGE_OBJECTIVES:
            raise ConfigError(
                f"edge_pose.objective is {self.edge_pose.objective!r}; choose one of {', '.join(EDGE_OBJECTIVES)}"
            )
        for name, value in (
            ("noise.hot_factor", self.noise.hot_factor),
            ("noise.hot_margin", self.noise.hot_margin),
            ("noise.background_s", 1 if self.noise.background_s is None else self.noise.background_s),
            ("noise.max_rate", 1 if self.noise.max_rate is None else self.noise.max_rate),
            ("batch.num_events", self.batch.num_events),
            ("batch.max_duration_s", self.batch.max_duration_s),
            ("batch.max_displacement_px", self.batch.max_displacement_px),
            ("tracker.max_events", self.tracker.max_events),
            ("adjust.knot_px", self.adjust.knot_px),
            ("adjust.speed_decay_s", self.adjust.speed_decay_s),
            ("adjust.nodes_per_knot", self.adjust.nodes_per_knot),
            ("adjust.events_per_knot", self.adjust.events_per_knot),
            ("adjust.window_knots", self.adjust.window_knots),
            ("adjust.pose_interval_us", self.adjust.pose_interval_us),
            ("adjust.max_events", self.adjust.max_events),
            ("gyro.bias_time_s", self.gyro.bias_time_s),
            ("gyro.max_latency_ms", self.gyro.max_latency_ms),
            *((f"inertial.{name}", value) for name, value in asdict(self.inertial).items()),
            ("tracker.max_evaluations", self.tracker.max_evaluations),
            ("tracker.step_tolerance_px", self.tracker.step_tolerance_px),
            ("tracker.rest_decay_s", self.tracker.rest_decay_s),
            ("tracker.prior_px", self.tracker.prior_px),
            ("tracker.prior_speed", self.tracker.prior_speed),
            ("sensor.width", 1 if self.sensor.width is None else self.sensor.width),
            ("sensor.height", 1 if self.sensor.height is None else self.sensor.height),
            ("batch.min_events", self.batch.min_events),
            ("auto.num_batches", self.auto.num_batches),
            ("map.panorama_width", self.map.panorama_width),
            ("map.max_points", self.map.max_points),
            ("run.checkpoint_s", self.run.checkpoint_s),
            ("run.threads", self.run.threads),
            ("run.chunk_events", self.run.chunk_events),
        ):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; give a finite number above zero")
        if len(self.adjust.knot_s) != 2 or not 0 < self.adjust.knot_s[0] <= self.adjust.knot_s[1] < math.inf:
            raise ConfigError(
                f"adjust.knot_s is {list(self.adjust.knot_s)}; give the shortest and the longest, in seconds"
            )
        for width in (self.adjust.width, *self.adjust.refine_widths):
            if width < 64 or width % 2:
                raise ConfigError(f"a panorama of adjust is {width} columns wide; give an even number of at least 64")
        for width in self.relocalise.widths:
            if width < 16 or width % 2 or self.adjust.width % width:
                raise ConfigError(
                    f"relocalise.widths holds {width}; give divisors of adjust.width = {self.adjust.width}"
                )
        if not 0 <= self.tracker.margin <= 1:
            raise ConfigError(f"tracker.margin is {self.tracker.margin}; give a share of the sensor's width in [0, 1]")
        if self.map.panorama_width < 16 or self.map.panorama_width % 2:
            raise ConfigError(f"map.panorama_width is {self.map.panorama_width}; give an even number of at least 16")
        for name, scales in (("start_scales", self.tracker.start_scales), ("warm_scales", self.tracker.warm_scales)):
            if not scales or not all(0 < scale <= 1 for scale in scales):
                raise ConfigError(f"tracker.{name} is {list(scales)}; give at least one scale, each in (0, 1]")
        if not 0 <= self.tracker.coarse_margin <= 1:
            raise ConfigError(f"tracker.coarse_margin is {self.tracker.coarse_margin}; give a share in [0, 1]")
        if not 0 <= self.tracker.coarse_blur < math.inf:
            raise ConfigError(f"tracker.coarse_blur is {self.tracker.coarse_blur}; give 0 or more bins")


def load_config(path: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Merge the default configuration, a YAML file and `key=value` overrides, in this order.

    Args:
        path: YAML file with any subset of the keys of `configs/default.yaml`; None for the default alone.
        overrides: strings such as `batch.num_events=30000`; the value is read as YAML.

    Returns:
        The resolved configuration.

    Raises:
        ConfigError: unreadable file, unknown key (the nearest valid key is named), value of the wrong type.
    """
    default = resources.files("evslam.configs").joinpath("default.yaml").read_text(encoding="utf-8")
    tree = _read_yaml(default, "default.yaml")
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"configuration file {path} does not exist; check the path given to --config")
        _merge(tree, _read_yaml(_read_text(path), str(path)), str(path), "")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"override {override!r} is not of the form key=value, e.g. batch.num_events=30000")
        nested: Any = parse_yaml(value, f"--set {override}")
        for name in reversed(key.strip().split(".")):
            nested = {name: nested}
        _merge(tree, nested, "--set", "")
    return build(Config, tree)


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML text that `load_config` reads back to an equal object."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def build(cls: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """Build a frozen dataclass from a mapping, strictly: every key known, every field present, types checked."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in tree:
        if key not in names:
            raise ConfigError(_unknown(key, names, "configuration", prefix))
    missing = [name for name in names if name not in tree]
    if missing:
        raise ConfigError(
            f"configuration key {prefix}{missing[0]} is missing; add it or start from configs/default.yaml"
        )
    return cls(**{name: _convert(hints[name], tree[name], f"{prefix}{name}") for name in names})


def parse_yaml(text: str, source: str) -> Any:
    """Content of YAML text; `source` names it in the message of the ConfigError when it is not valid."""
    try:
        return yaml.load(text, Loader=_LOADER)  # a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error


def _convert(hint: Any, value: Any, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}; give a mapping with {', '.join(f.name for f in fields(hint))}")
        return build(hint, value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} is {value!r}; give a list such as [0.5, 1.0]")
        return tuple(_convert(typing.get_args(hint)[0], item, name) for item in value)
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-3 as a string
            return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); give a value of type {hint.__name__}")
    return value


def _merge(base: dict[str, Any], update: Mapping[str, Any], source: str, prefix: str) -> None:
    for key, value in update.items():
        if key not in base:
            raise ConfigError(_unknown(str(key), list(base), source, prefix))
        if isinstance(base[key], dict):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{source}: {prefix}{key} is {value!r}; give a mapping with {', '.join(base[key])}")
            _merge(base[key], value, source, f"{prefix}{key}.")
        else:
            base[key] = value


def _unknown(key: str, known: list[str], source: str, prefix: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{source}: unknown key {prefix}{key}; did you mean {prefix}{near[0]}? (known: {', '.join(known)})"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error}; give a readable text file") from error


def _read_yaml(text: str, source: str) -> dict[str, Any]:
    tree = parse_yaml(text, source)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{source} holds {type(tree).__name__}; a mapping of configuration keys is expected")
    return tree


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
