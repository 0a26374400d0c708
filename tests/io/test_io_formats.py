"""What every format must do: give the events back, begin anywhere, say what a cut-off file has lost."""

import re
from pathlib import Path

import numpy as np
import pytest

from evslam.errors import DataError
from evslam.eval.bench.format_files import SAMPLE_FORMATS, SampleFormat
from evslam.io import arrays, hdf5, inflated, prophesee, records, text
from evslam.io.recording import Recording, open_recording
from evslam.types import Events

NEED_THEIR_END = (".h5", ".hdf5", ".db3", ".zip", ".npz")
SENSOR_CLOCK = ("RAW", "DAT", "AEDAT2")  # their clock has no such range
each_format = pytest.mark.parametrize("kind", SAMPLE_FORMATS, ids=lambda kind: kind.name)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even in a small file."""
    monkeypatch.setattr(prophesee, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(arrays, "BLOCK_EVENTS", 200)
    monkeypatch.setattr(inflated, "STEP_BYTES", 1 << 12)
    monkeypatch.setattr(inflated, "READ_BYTES", 1 << 8)
    monkeypatch.setattr(records, "BLOCK_RECORDS", 200)
    monkeypatch.setattr(hdf5, "BLOCK_EVENTS", 256)
    monkeypatch.setattr(text, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(text, "PROBE_BYTES", 1 << 9)


def written(kind: SampleFormat, folder: Path, events: Events) -> Recording:
    kind.write(kind.file(folder), events)
    return open_recording(kind.file(folder))


def whole(recording: Recording, *window: int | None) -> Events:
    return Events.concatenate(list(recording.reader.read(*window)))


def assert_equal(events: Events, expected: Events) -> None:
    for name in "txyp":
        column, right = getattr(events, name), getattr(expected, name)
        assert column.dtype == right.dtype
        np.testing.assert_array_equal(column, right)


@each_format
@pytest.mark.usefixtures("_small_blocks")
def test_events_come_back(kind: SampleFormat, tmp_path: Path) -> None:
    events = kind.events(3_000)
    recording = written(kind, tmp_path, events)
    assert_equal(whole(recording), events)
    reader = recording.reader
    assert (reader.t_first_us, reader.t_last_us) == (events.t[0], events.t[-1])
    assert reader.num_events in (None, 3_000)
    assert reader.counts.read == 3_000
    assert [problem for problem in reader.counts.problems() if "polarities -1" not in problem] == []


@each_format
@pytest.mark.usefixtures("_small_blocks")
def test_random_access_equals_slicing(kind: SampleFormat, tmp_path: Path) -> None:
    events = kind.events(3_000, rate=2e4)
    recording = written(kind, tmp_path, events)
    for start, stop in ((0, 1), (60_000, 80_001), (70_001, 70_002), (100_000, None), (None, 40_000), (10**9, None)):
        inside = (events.t >= (start or 0)) & (events.t < (stop or 10**12))
        expected = Events(*(getattr(events, name)[inside] for name in "txyp"))
        assert_equal(whole(recording, start, stop), expected)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in SAMPLE_FORMATS if not kind.name.startswith(SENSOR_CLOCK)],
    ids=lambda kind: kind.name,
)
def test_times_of_years_survive(kind: SampleFormat, tmp_path: Path) -> None:
    """Unix times in microseconds."""
    events = kind.events(500, start_us=1_633_953_690_975_950)
    assert_equal(whole(written(kind, tmp_path, events)), events)


@each_format
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_cut_off_files_give_what_is_whole(kind: SampleFormat, tmp_path: Path, share: float) -> None:
    events = kind.events(2_000)
    path = kind.file(tmp_path)
    kind.write(path, events)
    content = path.read_bytes()
    content = content[: int(len(content) * share) // 8 * 8 + 3]
    path.write_bytes(content.rstrip(b"\n")[:-1] if kind.suffix in (".txt", ".csv") else content)
    found, loss = read_or_refusal(path)
    if found is None:
        assert kind.suffix in NEED_THEIR_END
        assert re.search(rf"{path.name}: .*(cut off|not a readable).*; .* again", loss)
    else:
        assert_equal(found, events[: len(found)])
        assert len(found) > 0.5 * share * len(events)
        assert loss


def read_or_refusal(path: Path) -> tuple[Events | None, str]:
    """All events and what was lost, or None and why they are refused."""
    try:
        recording = open_recording(path)
        return whole(recording), "; ".join(recording.reader.counts.problems())
    except DataError as error:
        return None, str(error)
