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

T = TypeVar("T")

MODES = ("auto", "rotation", "6dof")


@dataclass(frozen=True)
class SensorConfig:
    """Facts of the sensor.

    Attributes:
        width, height: pixels; null lets the recording tell.
        latency_ms: milliseconds from a change of light to the time stamp of its event; taken off the stamps of poses.
    """

    width: int | None
    height: int | None
    latency_ms: float


@dataclass(frozen=True)
class NoiseConfig:
    """What is removed from the events before they are cut into batches; see `evslam.noise.NoiseFilter`.

    Attributes:
        hot_pixels: mask pixels that fire far more than their neighbourhood.
        hot_factor, hot_margin: a pixel is hot above hot_factor times the local median + hot_margin events.
        background_s: drop events without a neighbour's event in so many seconds before; null keeps them.
        max_rate: thin the events above so many per second; null keeps them.
    """

    hot_pixels: bool
    hot_factor: float
    hot_margin: int
    background_s: float | None
    max_rate: float | None


@dataclass(frozen=True)
class BatchConfig:
    """Limits of an event batch: at most `num_events` events, at most `max_duration_s` seconds and, once it has
    `min_events`, at most `max_displacement_px` pixels of image motion.

    A batch with fewer than `min_events` events, or one that the end of the recording cuts
    off to less than `min_share` of both limits, is bridged by the motion model.
    """

    num_events: int
    max_duration_s: float
    max_displacement_px: float
    min_events: int
    min_share: float


@dataclass(frozen=True)
class TrackerConfig:
    """Contrast maximisation per batch.

    Attributes:
        kernel: bin kernel of the event image (rect, linear, quadratic, cubic).
        gradient: gradient estimator of the binning layer (functional, raw).
        objective: contrast measure (variance, mean_square, gradient_magnitude).
        start_scales: image scales tried coarse to fine from an unknown motion.
        warm_scales: image scales used when the previous batch was tracked.
        max_events: of a batch that are used, evenly thinned.
        margin: canvas beyond the sensor on each side, as a share of its width.
        coarse_blur: standard deviation in bins of a Gaussian over the images at all scales but the last.
        coarse_margin: their margin; wider, because from far away many events fall beside the sensor.
        max_evaluations: objective evaluations per scale.
        step_tolerance_px: stop when the motion changes by less than this RMS event displacement.
        min_displacement_px: RMS displacement below which a motion is too small to be tested.
        min_support: contrast over that with shuffled time stamps, below which the events do not support a motion.
        quiet_share: without support, a rate of events below this share of the last tracked batch's is a camera at
            rest, above it a loss.
        rest_decay_s: time constant with which the motion goes to zero without measurement.
        prior_px: standard deviation of the change of motion between batches (6-DoF only), in pixels of RMS
            displacement per batch; keeps the translation from collapsing all events into a point.
        prior_speed: standard deviation of v (6-DoF only), in scene depths per second; where a rotation explains the
            events as well as a translation does, it decides for the rotation.
    """

    kernel: str
    gradient: str
    objective: str
    start_scales: tuple[float, ...]
    warm_scales: tuple[float, ...]
    max_events: int
    margin: float
    coarse_blur: float
    coarse_margin: float
    max_evaluations: int
    step_tolerance_px: float
    min_displacement_px: float
    min_support: float
    quiet_share: float
    rest_decay_s: float
    prior_px: float
    prior_speed: float


@dataclass(frozen=True)
class AdjustConfig:
    """Bundle adjustment of a rotation: a cubic spline on SO(3) whose panorama is made sharpest.

    Attributes:
        kernel, gradient: of the binning layer (linear, quadratic, cubic; functional, raw).
        knot_px: image motion in pixels between two knots, as long as that takes a time within ...
        knot_s: ... the shortest and the longest.
        speed_decay_s: time constant with which the speed that sets the knots falls.
        nodes_per_knot: between nodes, rotation matrices are interpolated linearly.
        events_per_knot: at most so many events of a knot interval are used, evenly thinned.
        smoothness: share of the contrast that a mean squared third difference of one pixel costs.
        stiffness: share of the contrast that a mean squared change of one pixel from the start of a search costs.
        width: columns of the panorama that new events are aligned with.
        window_knots: knot intervals that are adjusted with every batch.
        window_evaluations, window_tolerance: evaluations, and the gain in contrast below which the search stops.
        pose_interval_us: microseconds between the poses that are written.
        refine: adjust the whole trajectory at the end.
        refine_widths: columns of the panorama, coarse to fine.
        refine_evaluations, refine_tolerance: the same, for each width.
        max_events: kept for the refinement; beyond, every other one is dropped.
    """

    kernel: str
    gradient: str
    knot_px: float
    knot_s: tuple[float, ...]
    speed_decay_s: float
    nodes_per_knot: int
    events_per_knot: int
    smoothness: float
    stiffness: float
    width: int
    window_knots: int
    window_evaluations: int
    window_tolerance: float
    pose_interval_us: int
    refine: bool
    refine_widths: tuple[int, ...]
    refine_evaluations: int
    refine_tolerance: float
    max_events: int


@dataclass(frozen=True)
class RelocaliseConfig:
    """Search for the place on the panorama after a stretch without tracking (rotation only).

    Attributes:
        min_gap_px: image motion without measurement above which the place is searched for.
        near_deg: radius around the expected rotation that is searched after a gap.
        step_deg: distance of candidates.
        visited_deg: after a loss, rotations that were passed before are candidates too, so far apart.
        max_visited: at most so many of them.
        widths: columns of the panorama, divisors of `adjust.width`, coarse to fine.
        max_events: of the batch that are used for it.
        evaluations: for each width.
        check_interval_s: agreement with the panorama is checked so often while all seems well.
        max_doubts: checks in a row that may fail before the place counts as lost.
        patience_s: after so long in vain, the expected rotation is taken: the camera may see what it never saw.
        min_agreement: with the panorama, for a place to be right: see `evslam.backend.relocalisation.agreement`.
    """

    min_gap_px: float
    near_deg: float
    step_deg: float
    visited_deg: float
    max_visited: int
    widths: tuple[int, ...]
    max_events: int
    evaluations: int
    check_interval_s: float
    max_doubts: int
    patience_s: float
    min_agreement: float


@dataclass(frozen=True)
class GyroConfig:
    """Use of a gyroscope whose axes are the camera's.

    Attributes:
        use: take it, if the recording has one; refuse to run if it has none.
        bias_time_s: the bias is the mean difference from the events over so many seconds.
        max_latency_ms: the latency of the events is searched for up to here.
        min_spread: standard deviation of the angular velocity in rad/s below which no latency is told.
    """

    use: bool
    bias_time_s: float
    max_latency_ms: float
    min_spread: float


@dataclass(frozen=True)
class AutoConfig:
    """Mode `auto`: batches to look at, and by which share SE(3) must be sharper than a rotation to be chosen."""

    num_batches: int
    min_gain: float


@dataclass(frozen=True)
class MapConfig:
    """Panorama width in pixels (height is half of it) and the number of points that map.ply may hold."""

    panorama_width: int
    max_points: int


@dataclass(frozen=True)
class RunConfig:
    """The loop around the SLAM step: device, threads, chunk size of the reader, seconds between checkpoints."""

    device: str
    threads: int
    chunk_events: int
    checkpoint_s: float


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
    gyro: GyroConfig
    auto: AutoConfig
    map: MapConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}; choose one of {', '.join(MODES)}")
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
        return yaml.safe_load(text)
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
