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
    EdgeConfig,
    EdgePoseConfig,
    LandmarkConfig,
    LinkConfig,
    RefineConfig,
    UnionConfig,
    WindowConfig,
)
from evslam.settings_places import CullConfig, LoopConfig, PlacesConfig, SearchConfig
from evslam.settings_tracking import (
    BootstrapConfig,
    FrameConfig,
    KeyframeConfig,
    MoversConfig,
    PointsConfig,
    PoseConfig,
)

T = TypeVar("T")

MODES = ("auto", "rotation", "6dof")
EDGE_OBJECTIVES = ("search", "alignment", "contrast", "none")
DESCRIPTORS = ("sift", "patch")
EDGE_PULLS = ("search", "dense")


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
    movers: MoversConfig
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
        for name, value, choices in (
            ("mode", self.mode, MODES),
            ("edge_pose.objective", self.edge_pose.objective, EDGE_OBJECTIVES),
            ("places.descriptor", self.places.descriptor, DESCRIPTORS),
            ("refine.edges", self.refine.edges, EDGE_PULLS),
        ):
            if value not in choices:
                raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
        for section, names in _POSITIVE.items():
            for name in names:
                value = getattr(getattr(self, section), name)
                if value is not None and not 0 < value < math.inf:
                    raise ConfigError(f"{section}.{name} is {value}; give a finite number above zero")
        _check_panoramas(self.adjust, self.relocalise, self.map)
        _check_tracker(self.tracker)
        _check_held_out(self.refine.held_out, self.link.offsets)


_POSITIVE = {
    "sensor": ("width", "height"),
    "noise": ("hot_factor", "hot_margin", "background_s", "max_rate"),
    "batch": ("num_events", "max_duration_s", "max_displacement_px", "min_events"),
    "tracker": ("max_events", "max_evaluations", "step_tolerance_px", "rest_decay_s", "prior_px", "prior_speed"),
    "adjust": (
        *("knot_px", "speed_decay_s", "nodes_per_knot", "events_per_knot", "window_knots", "pose_interval_us"),
        "max_events",
    ),
    "gyro": ("bias_time_s", "max_latency_ms"),
    "inertial": tuple(field.name for field in fields(InertialConfig)),
    "auto": ("num_batches",),
    "map": ("panorama_width", "max_points"),
    "run": ("checkpoint_s", "threads", "chunk_events"),
}  # keys of each section; those that may be null are not looked at then


def _check_panoramas(adjust: AdjustConfig, relocalise: RelocaliseConfig, map_: MapConfig) -> None:
    if len(adjust.knot_s) != 2 or not 0 < adjust.knot_s[0] <= adjust.knot_s[1] < math.inf:
        raise ConfigError(f"adjust.knot_s is {list(adjust.knot_s)}; give the shortest and the longest, in seconds")
    for width in (adjust.width, *adjust.refine_widths):
        if width < 64 or width % 2:
            raise ConfigError(f"a panorama of adjust is {width} columns wide; give an even number of at least 64")
    for width in relocalise.widths:
        if width < 16 or width % 2 or adjust.width % width:
            raise ConfigError(f"relocalise.widths holds {width}; give divisors of adjust.width = {adjust.width}")
    if map_.panorama_width < 16 or map_.panorama_width % 2:
        raise ConfigError(f"map.panorama_width is {map_.panorama_width}; give an even number of at least 16")


def _check_tracker(tracker: TrackerConfig) -> None:
    if not 0 <= tracker.margin <= 1:
        raise ConfigError(f"tracker.margin is {tracker.margin}; give a share of the sensor's width in [0, 1]")
    for name, scales in (("start_scales", tracker.start_scales), ("warm_scales", tracker.warm_scales)):
        if not scales or not all(0 < scale <= 1 for scale in scales):
            raise ConfigError(f"tracker.{name} is {list(scales)}; give at least one scale, each in (0, 1]")
    if not 0 <= tracker.coarse_margin <= 1:
        raise ConfigError(f"tracker.coarse_margin is {tracker.coarse_margin}; give a share in [0, 1]")
    if not 0 <= tracker.coarse_blur < math.inf:
        raise ConfigError(f"tracker.coarse_blur is {tracker.coarse_blur}; give 0 or more bins")


def _check_held_out(held_out: tuple[int, ...], offsets: tuple[int, ...]) -> None:
    for offset in held_out:
        if offset in (0, *offsets):
            raise ConfigError(
                f"refine.held_out holds {offset}; give others than 0 and those of link.offsets, {list(offsets)}"
            )


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
            value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); give a value of type {hint.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; give a finite number")
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
