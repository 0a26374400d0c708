"""Text with one event a line: the Event Camera Dataset's "t[s] x y p", and CSV with its columns in any order."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from evslam.errors import DataError
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.reader import FileReader
from evslam.io.text_kernel import MAX_SCALED, SKIPPED, TIME, parse_events
from evslam.io.text_layout import ECD, TextLayout, find_layout
from evslam.types import Events, SensorSize

BLOCK_BYTES = 1 << 22
PROBE_BYTES = 1 << 16  # read at the head and at the tail to learn the time span
HEAD_LINES = 1000  # so many whole-numbered, different times cannot be seconds
MAX_WHOLE_SECONDS = 30 * 86_400
ROLES = {"x": 0, "y": 1, "p": 2, "t": TIME, "": SKIPPED}
_log = logging.getLogger(__name__)


def is_text(path: Path) -> bool:
    """Whether the file looks like text, which is all that can be said of a text recording without a signature."""
    with opened(path) as file:
        head = file.read(4096)
    return all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def is_csv(path: Path) -> bool:
    """Whether the file is text whose columns are named, or separated by commas."""
    try:
        return is_text(path) and not find_layout(path).is_assumed
    except DataError:
        return False


class TextReader(FileReader):
    """Reads text events (an EventReader); refuses times that are evidently not seconds where nothing states their unit.

    Args:
        path: the text file.
        size: see EventReader.
        layout: its columns; by default they are found out.
        open_file: opens it, where it is not a file of its own.

    Raises:
        DataError: the file cannot be read, holds no events, or its first or last lines are no events.
    """

    def __init__(
        self,
        path: Path,
        size: SensorSize | None = None,
        layout: TextLayout | None = None,
        open_file: Callable[[], BinaryIO] | None = None,
    ) -> None:
        super().__init__(path, size)
        self._open = open_file or (lambda: opened(self.path))
        self.layout = layout or find_layout(self.path)
        self._roles = np.array([ROLES[role] for role in self.layout.roles], np.int8)
        self.sensor_size = self.layout.size
        with self._open() as file:
            self._bytes = file.seek(0, 2)
        head = next(self._parsed(self.layout.start, PROBE_BYTES), None)
        if head is None:
            raise DataError(f"{self.path}: holds no events, expected lines {self.layout.text}; give another recording")
        self.t_first_us = int(head.t.min())
        self.t_last_us = self._last_time()
        if self.layout.is_assumed and self.layout.places == ECD.places:
            self._check_unit(head)

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        return self._parsed(self._offset_before(start_us), BLOCK_BYTES, counts)

    def _parsed(self, offset: int, num_bytes: int, counts: ReadCounts | None = None) -> Iterator[RawEvents]:
        """Decodes from the byte offset of a line on; logs and counts a truncated last line if `counts` are given."""
        with self._open() as file:
            file.seek(offset)
            rest = b""
            while block := file.read(num_bytes):
                lines, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield from self._parse(lines + newline, offset)
                elif len(rest) > BLOCK_BYTES:
                    raise DataError(
                        f"{self.path}: a line is longer than {BLOCK_BYTES} bytes; expected lines {self.layout.text}"
                    )
                offset += len(lines) + len(newline)
        yield from self._last_line(rest, offset, counts)

    def _last_line(self, line: bytes, offset: int, counts: ReadCounts | None) -> Iterator[RawEvents]:
        """A line without an end; it is left out where it is no event, or where its last number may go on."""
        may_go_on = bool(line.strip()) and self.layout.roles[-1] in ("t", "x", "y") and offset > self.layout.start
        try:
            yield from [] if may_go_on else self._parse(line, offset)
        except DataError:
            if offset <= self.layout.start:
                raise
            may_go_on = True
        if may_go_on and counts is not None:
            counts.truncated_bytes += len(line)
            _log.warning("%s: the last line is cut off (%r) and was left out", self.path, _shown(line))

    def _parse(self, text: bytes, offset: int) -> Iterator[RawEvents]:
        """Decodes whole lines; `offset` is where they begin in the file."""
        num_lines = text.count(b"\n") + 1
        t, columns = np.empty(num_lines, np.int64), np.empty((3, num_lines), np.int32)
        places = self.layout.places
        num_events, stop = parse_events(np.frombuffer(text, np.uint8), t, columns, self._roles, places)
        if stop < len(text):
            line = text[stop:].partition(b"\n")[0]
            raise DataError(f"{self.path}, line {self._line_number(offset + stop)}: {_fault(line, self.layout)}")
        if num_events:
            x, y, p = columns[:, :num_events]
            yield RawEvents(t[:num_events], x, y, p, lambda index: self._place(text, offset, index))

    def _place(self, text: bytes, offset: int, index: int) -> str:
        """Says where event `index` of a block stands."""
        for line in text.splitlines(keepends=True):
            if _is_event(line):
                if index == 0:
                    break
                index -= 1
            offset += len(line)
        return f"{self.path}, line {self._line_number(offset)}"

    def _line_number(self, offset: int) -> int:
        with self._open() as file:
            number = 1
            while offset > 0 and (block := file.read(min(BLOCK_BYTES, offset))):
                number += block.count(b"\n")
                offset -= len(block)
        return number

    def _last_time(self) -> int:
        """Newest time of the lines at the end of the file."""
        num_bytes = PROBE_BYTES
        while True:
            start = max(self._bytes - num_bytes, self.layout.start)
            with self._open() as file:
                offset = _next_line(file, start)
            times = [int(block.t.max()) for block in self._parsed(offset, BLOCK_BYTES)]
            if times:
                return max(times)
            num_bytes *= 16

    def _offset_before(self, start_us: int | None) -> int:
        """Byte offset of a line before which every event is older than start_us."""
        if start_us is None or start_us - HOLDBACK_US <= self.t_first_us:
            return self.layout.start
        first, stop = self.layout.start, self._bytes
        with self._open() as file:
            while stop - first > PROBE_BYTES:
                middle = (first + stop) // 2
                t_us = self._time_at(_next_line(file, middle))
                first, stop = (middle, stop) if t_us < start_us - HOLDBACK_US else (first, middle)
            return _next_line(file, first)

    def _time_at(self, offset: int) -> float:
        block = next(self._parsed(offset, 1024), None)
        return math.inf if block is None else int(block.t[0])

    def _check_unit(self, head: RawEvents) -> None:
        """Refuses whole-numbered times that cannot be seconds."""
        with self._open() as file:
            lines = [line for line in file.read(PROBE_BYTES).splitlines() if _is_event(line)][:HEAD_LINES]
        whole = not any(mark in line.split(maxsplit=1)[0] for line in lines for mark in (b".", b"e", b"E"))
        span_s = (self.t_last_us - self.t_first_us) // 1_000_000
        many = len(head.t) >= HEAD_LINES and head.t.min() < head.t.max()
        if whole and (span_s > MAX_WHOLE_SECONDS or many):
            raise _unit_error(
                f"{self.path}: times without decimal point, {self.t_first_us // 1_000_000} to "
                f"{self.t_last_us // 1_000_000}, are"
            )


def write_events_text(path: Path, chunks: Iterable[Events]) -> int:
    """Writes events as text, exact to the microsecond, and returns their number."""
    num_events = 0
    with Path(path).open("w", encoding="ascii") as file:
        for events in chunks:
            rows = zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True)
            file.writelines(f"{t // 1_000_000}.{t % 1_000_000:06d} {x} {y} {p:d}\n" for t, x, y, p in rows)
            num_events += len(events)
    return num_events


def _next_line(file: BinaryIO, offset: int) -> int:
    """Byte offset of the first line that begins at or after the offset."""
    if offset > 0:
        file.seek(offset - 1)
        file.readline()
        return file.tell()
    return 0


def _is_event(line: bytes) -> bool:
    stripped = line.strip()
    return bool(stripped) and stripped[:1] not in (b"#", b"%")


def _shown(line: bytes) -> str:
    return line[:60].decode("ascii", "replace").strip()


def _unit_error(fact: str) -> DataError:
    return DataError(
        f"{fact} microseconds or nanoseconds where seconds are expected; divide the first column by 1e6 or 1e9"
    )


def _fault(line: bytes, layout: TextLayout) -> str:
    """Says why a line is no event."""
    words = line.decode("ascii", "replace").replace(",", " ").replace(";", " ").split()
    number = len(layout.roles)
    if len(words) != number:
        return (
            f"{len(words)} columns where {number} are expected, {layout.text}: {_shown(line)!r}; correct or remove the "
            f"line"
        )
    values = {role: word for role, word in zip(layout.roles, words, strict=True) if role}
    for word in values.values():
        try:
            value = float(word)
        except ValueError:
            return f"{word!r} is not a number, expected {layout.text}; correct or remove the line"
        if not math.isfinite(value):
            return f"{word!r} is not finite; correct or remove the line"
    if abs(float(values["t"])) * 10.0**layout.places > MAX_SCALED:
        return str(_unit_error(f"time {values['t']} is in"))
    pixel = " ".join(values[role] for role in "xyp")
    return f"pixel and polarity must be whole numbers, not {pixel!r}; expected {layout.text}"
