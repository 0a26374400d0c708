"""Configuration: defaults, strict merge, overrides, and an error that helps for everything else."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.config import Config, build, dump_config, load_config
from evslam.errors import ConfigError
from evslam.settings import SensorConfig


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_shipped_file() -> None:
    shipped = yaml.safe_load(resources.files("evslam.configs").joinpath("default.yaml").read_text())
    config = load_config()
    assert yaml.safe_load(dump_config(config)) == shipped
    assert config.tracker.start_scales == tuple(shipped["tracker"]["start_scales"])
    assert config.sensor == SensorConfig(None, None, 0.0)


def test_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config().mode = "6dof"  # type: ignore[misc]


def test_later_sources_win(tmp_path: Path) -> None:
    path = written(tmp_path, "batch: {num_events: 5, min_events: 2}\nseed: 3\n")
    config = load_config(path, ["batch.num_events=7", "batch.num_events=8"])
    assert (config.batch.num_events, config.batch.min_events, config.seed) == (8, 2, 3)
    assert config.batch.max_duration_s == load_config().batch.max_duration_s
    assert config.tracker == load_config().tracker


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "# nothing\n")) == load_config()


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("batch.num_events=30000", "batch", "num_events", 30000),
        ("batch.max_duration_s=1", "batch", "max_duration_s", 1.0),
        ("tracker.step_tolerance_px=1e-3", "tracker", "step_tolerance_px", 0.001),
        ("tracker.step_tolerance_px=2.5e-3", "tracker", "step_tolerance_px", 0.0025),
        ("tracker.kernel=linear", "tracker", "kernel", "linear"),
        ("tracker.warm_scales=[0.25, 1]", "tracker", "warm_scales", (0.25, 1.0)),
        ("sensor.width=346", "sensor", "width", 346),
        ("sensor.width=null", "sensor", "width", None),
    ],
)
def test_override_values_are_read_as_yaml(override: str, section: str, key: str, value: object) -> None:
    actual = getattr(getattr(load_config(overrides=[override]), section), key)
    assert actual == value
    assert type(actual) is type(value)


def test_override_keeps_what_follows_the_first_equals_sign() -> None:
    assert load_config(overrides=["run.device=cuda=0"]).run.device == "cuda=0"


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 10**9),
    st.floats(1e-6, 1e6),
    st.lists(st.floats(0, 1, exclude_min=True), min_size=1),
    st.integers(1, 5000) | st.none(),
)
def test_dump_and_load_are_inverse(num: int, duration: float, scales: list[float], width: int | None) -> None:
    config = load_config()
    changed = dataclasses.replace(
        config,
        sensor=SensorConfig(width, 180, 1.5),
        batch=dataclasses.replace(config.batch, num_events=num, max_duration_s=duration),
        tracker=dataclasses.replace(config.tracker, start_scales=tuple(scales)),
    )
    assert build(Config, yaml.safe_load(dump_config(changed))) == changed


def test_a_dumped_file_loads_to_an_equal_configuration(tmp_path: Path) -> None:
    config = load_config(overrides=["mode=rotation", "sensor.width=346", "sensor.height=260"])
    assert load_config(written(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modus: auto", "unknown key modus; did you mean mode\\?"),
        ("batch: {num_event: 3}", "unknown key batch.num_event; did you mean batch.num_events\\?"),
        ("tracker:\n  objektive: variance", "unknown key tracker.objektive; did you mean tracker.objective\\?"),
        ("3: 4", "unknown key 3; did you mean"),
    ],
)
def test_unknown_keys_in_a_file_name_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trackr.kernel=rect", "--set: unknown key trackr; did you mean tracker\\? \\(known: mode, seed, "),
        ("tracker.kernal=rect", "--set: unknown key tracker.kernal; did you mean tracker.kernel\\?"),
        ("batch.num_events", "override 'batch.num_events' is not of the form key=value, e.g. batch.num_events=30000"),
        ("=3", "override '=3' is not of the form key=value"),
        ("batch=3", "--set: batch is 3; give a mapping with num_events, max_duration_s"),
        ("batch=null", "--set: batch is None; give a mapping"),
        ("batch.num_events=[", "--set batch.num_events=\\[ is not valid YAML"),
    ],
)
def test_bad_overrides_are_errors(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch.num_events=many", "batch.num_events is 'many' \\(str\\); give a value of type int"),
        ("batch.num_events=4.5", "batch.num_events is 4.5 \\(float\\); give a value of type int"),
        ("batch.num_events=true", "batch.num_events is True \\(bool\\); give a value of type int"),
        ("batch.num_events=", "batch.num_events is None \\(NoneType\\); give a value of type int"),
        ("batch.max_duration_s=long", "batch.max_duration_s is 'long' \\(str\\); give a value of type float"),
        ("batch.max_duration_s=yes", "batch.max_duration_s is True \\(bool\\); give a value of type float"),
        ("sensor.width=wide", "sensor.width is 'wide' \\(str\\); give a value of type int"),
        ("mode=null", "mode is None \\(NoneType\\); give a value of type str"),
        ("mode.x=1", "mode is {'x': 1} \\(dict\\); give a value of type str"),
        ("tracker.start_scales=0.5", "tracker.start_scales is 0.5; give a list such as \\[0.5, 1.0\\]"),
        ("tracker.start_scales=[half]", "tracker.start_scales is 'half' \\(str\\); give a value of type float"),
    ],
)
def test_values_of_the_wrong_type_are_errors(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("refine.edges=pull", "refine.edges is 'pull'; choose one of search, dense"),
        ("refine.held_out=[-6, 9]", "refine.held_out holds -6; give others than 0 and those of link.offsets"),
        ("mode=fly", "mode is 'fly'; choose one of auto, rotation, 6dof"),
        ("batch.num_events=0", "batch.num_events is 0; give a finite number above zero"),
        ("batch.max_duration_s=-1.0", "batch.max_duration_s is -1.0; give a finite number above zero"),
        ("batch.max_duration_s=.nan", "batch.max_duration_s is nan; give a finite number"),
        ("batch.max_duration_s=.inf", "batch.max_duration_s is inf"),
        ("run.chunk_events=-5", "run.chunk_events is -5"),
        ("tracker.max_evaluations=0", "tracker.max_evaluations is 0"),
        ("tracker.coarse_margin=1.5", "tracker.coarse_margin is 1.5; give a share in \\[0, 1\\]"),
        ("tracker.coarse_blur=-1.0", "tracker.coarse_blur is -1.0; give 0 or more bins"),
        ("tracker.start_scales=[]", "tracker.start_scales is \\[\\]; give at least one scale, each in \\(0, 1\\]"),
        ("tracker.warm_scales=[1.5]", "tracker.warm_scales is \\[1.5\\]"),
        ("tracker.warm_scales=[1, 0]", "tracker.warm_scales is \\[1.0, 0.0\\]"),
        ("tracker.warm_scales=[.nan]", "tracker.warm_scales is nan; give a finite number"),
        ("points.run_in_px=nan", "points.run_in_px is nan; give a finite number"),
        ("points.run_in_s=-.inf", "points.run_in_s is -inf; give a finite number"),
    ],
)
def test_values_that_make_no_sense_are_errors(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[override])


def test_a_key_that_is_missing_is_an_error() -> None:
    tree = yaml.safe_load(dump_config(load_config()))
    del tree["tracker"]["margin"]
    with pytest.raises(ConfigError, match=r"configuration key tracker\.margin is missing; add it or start from"):
        build(Config, tree)
    with pytest.raises(ConfigError, match=r"unknown key tracker\.margins; did you mean tracker.margin"):
        build(Config, {**tree, "tracker": {**tree["tracker"], "margins": 1}})


def test_files_that_cannot_be_used_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; check the path given to --config"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"experiment\.yaml is not valid YAML: ") as caught:
        load_config(written(tmp_path, "batch: {num_events: 3\nmode: ["))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"experiment\.yaml holds list; a mapping of configuration keys is expected"):
        load_config(written(tmp_path, "- mode\n"))
    (tmp_path / "binary.yaml").write_bytes(b"mode: \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.yaml cannot be read: .*; give a readable text file"):
        load_config(tmp_path / "binary.yaml")
