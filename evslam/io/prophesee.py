"""Prophesee RAW files: an ASCII header, then words in the encoding EVT 2.0, 2.1 or 3.0.

Source: Metavision documentation, "RAW File Format" and "Data Encoding Formats" (docs.prophesee.ai). Verified against
recordings of a Gen3 (EVT 2.0) and a Gen4.1 sensor (EVT 3.0), decoded by two other implementations; EVT 2.1 against
files written from the specification.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io import prophesee_kernel as kernel
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.reader import FileReader, Place
from evslam.types import SensorSize

BLOCK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 16
MAX_SIDE = 1 << 16
HEADER_KEYS = ("evt", "format", "plugin_name", "integrator_name", "camera_integrator_name")
SIZE_BY_GENERATION = {"gen3": SensorSize(480, 640), "gen4": SensorSize(720, 1280), "imx636": SensorSize(720, 1280)}
LEGACY_BEFORE = 0x37  # system_ID below which EVT 2.1 comes with its halves swapped
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoding:
    """How events are packed into words.

    Attributes:
        name: as Prophesee calls it.
        dtype: of a word.
        decode: see `evslam.io.prophesee_kernel`.
        high_bits, low_bits: how the time is split into words.
    """

    name: str
    dtype: str
    decode: Callable[..., int]
    high_bits: int
    low_bits: int

    def words(self, content: bytes) -> np.ndarray:
        """The whole words of a block."""
        whole = len(content) - len(content) % np.dtype(self.dtype).itemsize
        return np.frombuffer(content[:whole], self.dtype)

    def time(self, state: np.ndarray) -> int:
        """Microseconds that the decoder has reached."""
        return int(
            ((state[kernel.LOOPS] << self.high_bits | max(state[kernel.HIGH], 0)) << self.low_bits) | state[kernel.LOW]
        )

    def events(self, words: np.ndarray, state: np.ndarray, num_events: int, place: Callable[[int], str]) -> RawEvents:
        """Decodes words that hold `num_events` events; the state goes on to their end."""
        t = np.empty(num_events, np.int64)
        x, y = np.empty(num_events, np.uint16), np.empty(num_events, np.uint16)
        p = np.empty(num_events, bool)
        self.decode(words, state, t, x, y, p)
        return RawEvents(t, x, y, p, place)

    def count(self, words: np.ndarray, state: np.ndarray) -> int:
        """Number of events in the words; the state goes on to their end."""
        pixels = np.empty(0, np.uint16)
        return self.decode(words, state, np.empty(0, np.int64), pixels, pixels, np.empty(0, bool))


class _SwappedHalves(Encoding):
    """EVT 2.1 of sensors that send the upper half of a word first."""

    def words(self, content: bytes) -> np.ndarray:
        halves = np.frombuffer(content[: len(content) - len(content) % 8], "<u4").astype(np.uint64)
        return halves[0::2] << np.uint64(32) | halves[1::2]


ENCODINGS = {
    "EVT2": Encoding("EVT2", "<u4", kernel.decode_evt2, kernel.EVT2_HIGH_BITS, kernel.EVT2_LOW_BITS),
    "EVT21": Encoding("EVT21", "<u8", kernel.decode_evt21, kernel.EVT2_HIGH_BITS, kernel.EVT2_LOW_BITS),
    "EVT21 legacy": _SwappedHalves(
        "EVT21 legacy", "<u8", kernel.decode_evt21, kernel.EVT2_HIGH_BITS, kernel.EVT2_LOW_BITS
    ),
    "EVT3": Encoding("EVT3", "<u2", kernel.decode_evt3, kernel.EVT3_HIGH_BITS, kernel.EVT3_LOW_BITS),
}


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """The keys of a header of lines "% key value", and the offset of what follows; no keys if there is no header."""
    with opened(path) as file:
        content = file.read(MAX_HEADER_BYTES)
    entries, offset = {}, 0
    while content.startswith(b"% ", offset):
        line, newline, _ = content[offset:].partition(b"\n")
        if not newline:
            break
        offset += len(line) + 1
        key, _, value = line[2:].decode("ascii", "replace").strip().partition(" ")
        if key == "end":
            break
        entries[key] = value.strip()
    return entries, offset


def is_raw(path: Path) -> bool:
    """Whether the file begins with the header of a Prophesee RAW file."""
    entries, _ = read_header(path)
    return any(key in entries for key in HEADER_KEYS)


@dataclass(frozen=True)
class _Block:
    """A stretch of the file: where it begins, the decoder's state there, and the number of events before and in it."""

    offset: int
    state: np.ndarray
    first: int
    num_events: int


class RawReader(FileReader):
    """Reads Prophesee RAW (an EventReader). One pass when it is opened counts the events and makes an index by time.

    Raises:
        DataError: the header names no known encoding, or there are no events.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        entries, self._start = read_header(self.path)
        self.encoding = _encoding(self.path, entries)
        self.sensor_size = _size(self.path, entries)
        self._index = list(self._scan())
        filled = [block for block in self._index if block.num_events]
        if not filled:
            raise DataError(f"{self.path}: holds no events after its header of {self._start} bytes; record it again")
        self.num_events = filled[-1].first + filled[-1].num_events
        self.t_first_us = int(self._decode(filled[0]).t.min())
        self.t_last_us = int(self._decode(filled[-1]).t.max())

    def _scan(self) -> Iterator[_Block]:
        """Index of the file; keeps what the pass met."""
        state, offset, num_events = kernel.new_state(), self._start, 0
        word_bytes = np.dtype(self.encoding.dtype).itemsize
        with opened(self.path) as file:
            file.seek(offset)
            while content := file.read(BLOCK_BYTES):
                begin = state.copy()
                number = self.encoding.count(self.encoding.words(content), state)
                yield _Block(offset, begin, num_events, number)
                num_events, offset = num_events + number, offset + len(content)
        self._truncated_bytes = (offset - self._start) % word_bytes
        self._damaged_bytes, self._untimed = int(state[kernel.DAMAGED]) * word_bytes, int(state[kernel.UNTIMED])
        if self._truncated_bytes:
            _log.warning("%s: the last %d bytes are no whole word and were left out", self.path, self._truncated_bytes)

    def _decode(self, block: _Block) -> RawEvents:
        with opened(self.path) as file:
            file.seek(block.offset)
            words = self.encoding.words(file.read(BLOCK_BYTES))
        return self.encoding.events(words, block.state.copy(), block.num_events, Place(self.path, block.first))

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        counts.truncated_bytes, counts.damaged_bytes = self._truncated_bytes, self._damaged_bytes
        counts.untimed = self._untimed
        times = np.array([self.encoding.time(block.state) for block in self._index])
        first = 0 if start_us is None else int(np.searchsorted(times, start_us - HOLDBACK_US)) - 1
        for block in self._index[max(first, 0) :]:
            if block.num_events:
                yield self._decode(block)


def _encoding(path: Path, entries: dict[str, str]) -> Encoding:
    options = dict(part.partition("=")[::2] for part in entries.get("format", "").split(";")[1:])
    name = entries.get("format", "").partition(";")[0] or {
        "2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"
    }.get(entries.get("evt", ""), "")  # fmt: skip
    if name == "EVT21":
        order = options.get("endianness") or entries.get("endianness")
        system = entries.get("system_ID", "")
        old = system.isdecimal() and 0 < int(system[:9]) < LEGACY_BEFORE
        name = "EVT21 legacy" if order == "legacy" or (order is None and old) else name
    if name not in ENCODINGS:
        stated = entries.get("format") or entries.get("evt") or "none"
        raise DataError(
            f"{path}, header: encoding {stated!r} is not EVT2, EVT21 or EVT3; convert the file with Metavision's tools"
        )
    return ENCODINGS[name]


def _size(path: Path, entries: dict[str, str]) -> SensorSize | None:
    """The resolution: stated as such, or that of the stated sensor."""
    options = dict(part.partition("=")[::2] for part in entries.get("format", "").split(";")[1:])
    stated = entries.get("geometry") or f"{options.get('width', '')}x{options.get('height', '')}"
    size = stated_size(path, stated)
    if size is not None:
        return size
    sensor = " ".join(
        (entries.get("plugin_name", ""), "gen" + entries.get("sensor_generation", ""), entries.get("sensor_name", ""))
    ).lower()
    return next((size for name, size in SIZE_BY_GENERATION.items() if name in sensor), None)


def stated_size(path: Path, geometry: str) -> SensorSize | None:
    """The resolution from "WIDTHxHEIGHT", None if it is not stated.

    Raises:
        DataError: it is no sensor's.
    """
    numbers = re.fullmatch(r"(\d+)x(\d+)", geometry.strip())
    if numbers is None:
        return None
    if not all(len(side) < 6 and 0 < int(side) <= MAX_SIDE for side in numbers.groups()):
        raise DataError(f"{path}, header: geometry {geometry:.40} is no sensor's; correct the header")
    return SensorSize(height=int(numbers[2]), width=int(numbers[1]))
