"""Prophesee's encodings: compiled decoders against plain ones, overflowing clocks, headers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.errors import DataError
from evslam.eval.bench.format_files import evt3_words, random_events, write_dat, write_evt2, write_evt3
from evslam.io import prophesee_kernel as kernel
from evslam.io.clock import unwrapped
from evslam.io.dat import DatReader
from evslam.io.prophesee import ENCODINGS, RawReader, is_raw
from evslam.types import Events, SensorSize

Row = tuple[int, int, int, int]


def plain_evt3(words: list[int]) -> list[Row]:
    """EVT 3.0 as the specification tells it, word by word."""
    rows, high, loops, low, row, base, polarity = [], None, 0, 0, 0, 0, 0
    for word in words:
        kind, content = word >> 12, word & 0xFFF
        time = 0 if high is None else (loops << 24) + (high << 12) + low
        if kind == 0x0:
            row = content % 2048
        elif kind == 0x2:
            rows.append((time, content % 2048, row, content >> 11, high))
        elif kind == 0x3:
            base, polarity = content % 2048, content >> 11
        elif kind in (0x4, 0x5):
            width = 12 if kind == 0x4 else 8
            rows += [(time, base + i, row, polarity, high) for i in range(width) if content >> i & 1]
            base += width
        elif kind == 0x6:
            low = content
        elif kind == 0x8:
            loops += high is not None and high - content > 2048
            low = low if high == content else 0
            high = content
    return [event[:4] for event in rows if event[4] is not None]


def plain_evt2(words: list[int], vector: bool) -> list[Row]:
    """EVT 2.0, or with `vector` EVT 2.1, word by word."""
    rows, high, loops = [], None, 0
    for whole in words:
        word, mask = (whole >> 32, whole & 0xFFFFFFFF) if vector else (whole, 1)
        kind = word >> 28
        if kind in (0, 1) and high is not None:
            time = (loops << 34) + (high << 6) + (word >> 22) % 64
            x, y = (word >> 11) % 2048, word % 2048
            rows += [(time, x + i, y, kind) for i in range(32) if mask >> i & 1]
        elif kind == 8:
            new = word % (1 << 28)
            loops += high is not None and high - new > 1 << 27
            high = new
    return rows


def compiled(name: str, words: list[int], cut: int) -> list[Row]:
    """The same with the compiled decoder, in two pieces."""
    encoding, state = ENCODINGS[name], kernel.new_state()
    rows: list[Row] = []
    for part in (words[:cut], words[cut:]):
        piece = np.array(part, encoding.dtype)
        number = encoding.count(piece, state.copy())
        raw = encoding.events(piece, state, number, lambda index: "")  # type: ignore[arg-type]
        rows += zip(raw.t.tolist(), raw.x.tolist(), raw.y.tolist(), raw.p.astype(int).tolist(), strict=True)
    return rows


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 0xFFFF)), st.integers(0, 20))
def test_evt3_equals_plain_decoder(words: list[int], cut: int) -> None:
    assert compiled("EVT3", words, cut) == plain_evt3(words)


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 0x1FFFFFFF), st.integers(0x80000000, 0x8FFFFFFF))), st.integers(0, 20))
def test_evt2_equals_plain_decoder(words: list[int], cut: int) -> None:
    assert compiled("EVT2", words, cut) == plain_evt2(words, vector=False)


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=20), st.integers(0, 20))
def test_evt21_equals_plain_decoder(words: list[int], cut: int) -> None:
    kinds = (0, 1, 8, 15)
    words = [word & (1 << 60) - 1 | kinds[word >> 62] << 60 for word in words]
    assert compiled("EVT21", words, cut) == plain_evt2(words, vector=True)


def sparse(step_us: int, number: int) -> Events:
    """Events whose times are far apart."""
    zeros = np.zeros(number, np.uint16)
    return Events(np.arange(number, dtype=np.int64) * step_us + 7, zeros, zeros, np.ones(number, bool))


@pytest.mark.parametrize(
    ("write", "reader", "bits"), [(write_evt3, RawReader, 24), (write_evt2, RawReader, 34), (write_dat, DatReader, 32)]
)
def test_overflowing_clocks_go_on(
    write: Callable[[Path, Events], None], reader: type[RawReader | DatReader], bits: int, tmp_path: Path
) -> None:
    events = sparse((1 << bits) // 3, 20)
    write(tmp_path / "a.raw", events)
    found = reader(tmp_path / "a.raw", SensorSize(480, 640))
    assert Events.concatenate(list(found.read())).t.tolist() == events.t.tolist()
    assert found.t_last_us == events.t[-1]
    assert (
        Events.concatenate(list(found.read(int(events.t[9]), int(events.t[11])))).t.tolist() == events.t[9:11].tolist()
    )


@given(st.lists(st.integers(-127, 127), min_size=1), st.integers(0, 1 << 40))
def test_unwrapped_inverts_overflow(steps: list[int], start: int) -> None:
    time = start + np.concatenate([[0], np.cumsum(steps)])
    assert unwrapped((time % 256).astype(np.uint8), 8, start).tolist() == time.tolist()


def test_what_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    events = random_events(100)
    words = evt3_words(events)
    untimed, reserved = np.array([0x0001, 0x2005, 0x2006], "<u2"), np.array([0x1000, 0xB000], "<u2")
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 3.0\n% end\n" + np.concatenate([untimed, reserved, words]).tobytes() + b"\xff")
    reader = RawReader(path)
    assert len(Events.concatenate(list(reader.read()))) == 100
    assert reader.counts.problems() == [
        "1 bytes at the end are no whole event",
        "4 bytes cannot be decoded and are skipped",
        "2 events before the first time stamp are dropped",
    ]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("% evt 3.0\n% geometry 640x480\n", SensorSize(480, 640)),
        ("% format EVT3;height=720;width=1280\n", SensorSize(720, 1280)),
        ("% evt 3.0\n% plugin_name hal_plugin_gen31_evk3\n", SensorSize(480, 640)),
        ("% evt 3.0\n% sensor_generation 4.1\n", SensorSize(720, 1280)),
        ("% evt 3.0\n", None),
    ],
)
def test_size_from_header(header: str, size: SensorSize | None, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(header.encode() + evt3_words(random_events(10)).tobytes())
    assert is_raw(tmp_path / "a.raw")
    assert RawReader(tmp_path / "a.raw").sensor_size == size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"% evt 4.0\n", r"header: encoding '4.0' is not EVT2, EVT21 or EVT3; convert"),
        (b"% integrator_name Prophesee\n", r"header: encoding 'none' is not"),
        (b"% evt 3.0\n% geometry 0x480\n", r"header: geometry 0x480 is no sensor's; correct"),
        (b"% evt 3.0\n% end\n", r"holds no events after its header of 16 bytes; record it again"),
    ],
)
def test_unfit_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(content)
    with pytest.raises(DataError, match=rf"a.raw.*{message}"):
        RawReader(tmp_path / "a.raw")


def test_dat_of_other_events_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"% Version 2\n\x0e\x08" + bytes(80))
    with pytest.raises(
        DataError, match=r"a.dat, byte 12: events of type b'.x0e' are no pixel events; give another file"
    ):
        DatReader(tmp_path / "a.dat")
