"""Event Camera Dataset text: parsing, units, damage, random access."""

import logging
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evslam.errors import DataError
from evslam.io import text
from evslam.io.text import TextReader, write_events_text
from evslam.io.text_kernel import TIME, parse_events
from evslam.types import Events, SensorSize

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def make(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "events.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **window: int) -> Events:
    return Events.concatenate(list(TextReader(path).read(**window)))


def rows(events: Events) -> list[tuple[int, int, int, bool]]:
    return list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))


def parse(line: str) -> tuple[int, int, list[int]]:
    t, columns = np.empty(2, np.int64), np.empty((3, 2), np.int32)
    num_events, stop = parse_events(
        np.frombuffer(line.encode(), np.uint8), t, columns, np.array([TIME, 0, 1, 2], np.int8), 6
    )
    return num_events, stop, [int(t[0]), *columns[:, 0].tolist()]


def test_lines_become_events(tmp_path: Path) -> None:
    path = make(tmp_path, "# t x y p\n43.499029000 61 31 1\r\n\n43.499038 59\t32   0 \n 43.5 3 4 -1")
    reader = TextReader(path)
    assert rows(Events.concatenate(list(reader.read()))) == [
        (43_499_029, 61, 31, True),
        (43_499_038, 59, 32, False),
        (43_500_000, 3, 4, False),
    ]
    assert (reader.t_first_us, reader.t_last_us, reader.num_events) == (43_499_029, 43_500_000, None)
    assert (reader.counts.read, reader.counts.negative_polarity, reader.counts.truncated_bytes) == (3, 1, 0)


@pytest.mark.parametrize(
    ("word", "t_us"),
    [
        ("1500000000.123456", 1_500_000_000_123_456),
        ("1500000000.1234565", 1_500_000_000_123_457),
        ("1500000000.123456499999999999999", 1_500_000_000_123_456),
        ("0.0000005", 1),
        ("0.00000049", 0),
        ("1.250000000000000000e+01", 12_500_000),
        ("5e-7", 1),
        ("1e-30", 0),
        ("+.5", 500_000),
        ("7.", 7_000_000),
    ],
)
def test_seconds_are_rounded_exactly(word: str, t_us: int) -> None:
    assert parse(f"{word} 1 2 1\n") == (1, len(word) + 7, [t_us, 1, 2, 1])


@given(st.integers(0, 10**17), st.integers(0, 12))
def test_any_decimal_is_rounded_half_up(digits: int, places: int) -> None:
    number = Decimal(digits).scaleb(-places)
    expected = (number * 10**6).to_integral_value(ROUND_HALF_UP)
    num_events, _, values = parse(f"{number:f} 5 6 0\n")
    if expected > 10**17:
        assert num_events == 0
    else:
        assert values == [expected, 5, 6, 0]


BAD_LINES = (
    "1 2 3", "1 2 3 1 5", "a 2 3 1", "1 2.5 3 1", "1 2 3 x", "1 2 3 1x", "1 2-3 1", "e 1 2 1",
    "1e 2 3 1", "- 2 3 1", ". 2 3 1", "nan 2 3 1", "1.2.3 4 5 1", "1e12 2 3 1",
)  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES)
def test_lines_that_are_no_events_are_found(line: str) -> None:
    good = "0.1 1 2 1\n"
    assert parse(f"{good}{line}\n{good}")[:2] == (1, len(good))


event_lists = st.lists(
    st.tuples(st.integers(0, 2_000_000_000_000_000), st.integers(0, 65535), st.integers(0, 65535), st.booleans()),
    min_size=1,
    max_size=30,
).map(sorted)


def as_events(tuples: list[tuple[int, int, int, bool]]) -> Events:
    t, x, y, p = zip(*tuples, strict=True)
    return Events(np.array(t, np.int64), np.array(x, np.uint16), np.array(y, np.uint16), np.array(p, bool))


@in_one_folder
@given(event_lists)
def test_round_trip(tmp_path: Path, tuples: list[tuple[int, int, int, bool]]) -> None:
    tuples = sorted(tuples, key=lambda event: event[0])
    path = tmp_path / "events.txt"
    assert write_events_text(path, [as_events(tuples)]) == len(tuples)
    assert rows(read(path)) == tuples


@pytest.mark.parametrize(
    ("line", "fact", "remedy"),
    [
        ("0.2 abc 3 1", "'abc' is not a number", "correct or remove the line"),
        ("0.2 5 3", "3 columns where 4 are expected", "correct or remove the line"),
        ("0.2 5 3 1 9", "5 columns where 4 are expected", "correct or remove the line"),
        ("nan 5 3 1", "'nan' is not finite", "correct or remove the line"),
        ("0.2 inf 3 1", "'inf' is not finite", "correct or remove the line"),
        ("0.2 5.5 3 1", "must be whole numbers, not '5.5 3 1'", 'expected "t[s] x y p"'),
        (
            "1500000000000000 5 3 1",
            "time 1500000000000000 is in microseconds or nanoseconds",
            "divide the first column",
        ),
        ("-0.2 5 3 1", "time -200000 us is negative", "shift the recording"),
        ("0.2 5 3 7", "polarity 7 is not 0, 1 or -1", "map it"),
        ("0.05 5 3 1", "time goes back from 100000 us to 50000 us", "sort the recording"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, fact: str, remedy: str) -> None:
    path = make(tmp_path, f"# head\n0.1 1 2 1\n\n0.1 1 2 1\n{line}\n0.3 1 2 1\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}, line 5: " in str(caught.value)
    assert fact in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_line_far_into_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(text, "PROBE_BYTES", 500)
    lines = [f"{index / 1000:.6f} 1 2 1\n" for index in range(2_000)]
    lines[1_233] = "1.233 1 2 oops\n"
    path = make(tmp_path, "".join(lines))
    for window in ({}, {"start_us": 1_200_000}):
        with pytest.raises(DataError, match=r"events.txt, line 1234: 'oops' is not a number"):
            read(path, **window)
    lines[1_233] = "1.233 1 2 9\n"
    with pytest.raises(DataError, match=r"events.txt, line 1234: polarity 9"):
        read(make(tmp_path, "".join(lines)), start_us=1_200_000)


@pytest.mark.parametrize("rest", ["0.2 5", "0.2 5 3", "0.", "0.2 5 3 -", "\0\0\0\0"])
def test_truncated_last_line_is_left_out(tmp_path: Path, rest: str, caplog: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path, "0.1 1 2 1\n" + rest)
    reader = TextReader(path)
    with caplog.at_level(logging.WARNING):
        events = Events.concatenate(list(reader.read()))
    assert rows(events) == [(100_000, 1, 2, True)]
    assert reader.t_last_us == 100_000
    assert reader.counts.truncated_bytes == len(rest)
    assert str(path) in caplog.text
    assert "last line is cut off" in caplog.text


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_no_events(tmp_path: Path, content: str) -> None:
    path = make(tmp_path, content)
    with pytest.raises(DataError) as caught:
        TextReader(path)
    assert f'{path}: holds no events, expected lines "t[s] x y p"; give another recording' == str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"events.txt: no such file; check the path"):
        TextReader(tmp_path / "events.txt")


def test_file_without_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 100)
    monkeypatch.setattr(text, "PROBE_BYTES", 100)
    with pytest.raises(DataError, match="a line is longer than 100 bytes"):
        TextReader(make(tmp_path, "0.1 1 2 1\r" * 100))


def test_microseconds_over_a_long_span_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "0 1 2 1\n60000000 1 2 1\n")
    with pytest.raises(DataError) as caught:
        TextReader(path)
    assert f"{path}: times without decimal point, 0 to 60000000, are microseconds" in str(caught.value)
    assert "divide the first column by 1e6 or 1e9" in str(caught.value)


def test_many_whole_numbered_times_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "".join(f"{t} 1 2 1\n" for t in range(1000)))
    with pytest.raises(
        DataError, match=r"0 to 999, are microseconds or nanoseconds where seconds are expected; divide"
    ):
        TextReader(path)


def test_few_whole_seconds_are_seconds(tmp_path: Path) -> None:
    assert read(make(tmp_path, "0 1 2 1\n1 1 2 1\n2 1 2 1\n")).t.tolist() == [0, 1_000_000, 2_000_000]


@pytest.fixture
def jittered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Events]:
    """A file of many small blocks whose times jitter by up to 10 ms, and its sorted events."""
    monkeypatch.setattr(text, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(text, "PROBE_BYTES", 500)
    rng = np.random.default_rng(3)
    t = np.arange(5_000) * 500 + rng.integers(0, 10_000, 5_000)
    events = Events(t, rng.integers(0, 240, 5_000), rng.integers(0, 180, 5_000), rng.integers(0, 2, 5_000) > 0)
    path = tmp_path / "events.txt"
    write_events_text(path, [events])
    order = np.argsort(t, kind="stable")
    return path, Events(*(getattr(events, name)[order] for name in "txyp"))


@pytest.mark.parametrize(
    "window",
    [(0, 0), (1_000_000, 1_000_001), (1_234_567, 1_500_000), (2_400_000, 9_999_999), (-5, 300), (5_000_000, 5_000_001)],
)
def test_random_access_equals_slicing(jittered: tuple[Path, Events], window: tuple[int, int]) -> None:
    path, events = jittered
    start, stop = window
    inside = (events.t >= start) & (events.t < stop)
    found = read(path, start_us=start, stop_us=stop)
    for name in "txyp":
        assert getattr(found, name).tolist() == getattr(events, name)[inside].tolist()


def test_random_access_reads_little(jittered: tuple[Path, Events]) -> None:
    path, _ = jittered
    reader = TextReader(path)
    list(reader.read(2_000_000, 2_010_000))
    assert reader.counts.read < 500


def test_chunks_have_the_asked_size(jittered: tuple[Path, Events]) -> None:
    reader = TextReader(jittered[0])
    assert [len(part) for part in reader.read(chunk=1_500)] == [1_500, 1_500, 1_500, 500]
    assert reader.counts.read == 5_000
    assert reader.counts.reordered > 1_000


def test_size_drops_events_outside(tmp_path: Path) -> None:
    reader = TextReader(make(tmp_path, "0.1 5 2 1\n0.2 3 2 1\n"), SensorSize(height=4, width=4))
    assert Events.concatenate(list(reader.read())).x.tolist() == [3]
    assert reader.counts.dropped_outside == 1
