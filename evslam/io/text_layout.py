"""Which column of a text file is what, and in which unit its times are: by meta.yaml, by header, or by its values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from evslam.errors import DataError
from evslam.io.files import opened, read_text
from evslam.types import SensorSize

HEAD_BYTES = 1 << 16
MAX_COLUMNS = 32
NUM_GUESSED = 200  # lines that a guess looks at
COLUMN_NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "col", "column", "u"),
    "y": ("y", "ys", "row", "v"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on", "sign"),
}
UNITS = {"s": 6, "sec": 6, "seconds": 6, "ms": 3, "us": 0, "µs": 0, "usec": 0, "microseconds": 0, "ns": -3, "nsec": -3}
META_FILE = "meta.yaml"


@dataclass(frozen=True)
class TextLayout:
    """The columns of a text file.

    Attributes:
        roles: "t", "x", "y", "p", or "" for a column that is skipped.
        places: decimal places of a microsecond in the unit of the times: 6 for seconds, 0 for microseconds.
        start: byte offset of the first line after a header.
        is_assumed: whether nothing in the file or beside it says so.
        size: the resolution that the header states.
    """

    roles: tuple[str, ...]
    places: int
    start: int = 0
    is_assumed: bool = False
    size: SensorSize | None = None

    @property
    def text(self) -> str:
        """As shown in messages: "t[s] x y p"."""
        unit = {6: "s", 3: "ms", 0: "us", -3: "ns"}[self.places]
        return " ".join(f"t[{unit}]" if role == "t" else role or "-" for role in self.roles).join('""')


ECD = TextLayout(("t", "x", "y", "p"), 6, is_assumed=True)


def find_layout(path: Path) -> TextLayout:
    """The layout of a text file.

    Looked at in this order: the keys `columns` (such as [x, y, p, t]) and `time_unit` (s, ms, us, ns) of meta.yaml
    beside the file; a header line that names the four columns; the values, if they are separated by commas or
    semicolons; else it is that of the Event Camera Dataset, seconds x y p.

    Raises:
        DataError: meta.yaml does not name the columns well, or the order of comma-separated values cannot be told.
    """
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
    lines = head.splitlines(keepends=True)
    lines = lines[:-1] if len(head) == HEAD_BYTES else lines
    stated = _from_meta(path.parent / META_FILE, path.name)
    size, offset = None, 0
    for line in lines:
        words = _words(line)
        geometry = re.match(rb"\s*[%#]\s*geometry:\s*(\d{1,5})[,x](\d{1,5})", line)
        if geometry:
            size = SensorSize(height=max(int(geometry[2]), 1), width=max(int(geometry[1]), 1))
        is_comment = line.lstrip()[:1] in (b"#", b"%")
        named = None if stated else _from_names(words, _first_value(lines))
        if named is not None and not (is_comment and named == (ECD.roles, 0)):  # a comment says too little of the unit
            return TextLayout(*named, offset + len(line), size=size)
        if words and not is_comment:
            break
        offset += len(line)
    if stated is not None:
        roles, places = stated
        is_header = bool(words) and not _is_number(words[0])
        return TextLayout(roles, places, offset + len(line) if is_header else offset, size=size)
    if lines and any(mark in lines[_data_line(lines)] for mark in (b",", b";")):
        return _guessed(path, lines, size)
    return TextLayout(ECD.roles, ECD.places, is_assumed=True, size=size)


def _words(line: bytes) -> list[str]:
    text = line.decode("utf-8", "replace").strip().lstrip("#%").strip()
    return [word for word in re.split(r"[,;\s]+", text)[: MAX_COLUMNS + 1] if word]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word) is not None


def _data_line(lines: list[bytes]) -> int:
    """Number of the first line that holds values."""
    return next((i for i, line in enumerate(lines) if line.strip() and line.lstrip()[:1] not in (b"#", b"%")), 0)


def _first_value(lines: list[bytes]) -> list[str]:
    """The first line that begins with a number."""
    return next((words for line in lines if (words := _words(line)) and _is_number(words[0])), [])


def _from_names(words: list[str], values: list[str]) -> tuple[tuple[str, ...], int] | None:
    """Roles and places from a header; a unit that is not named is told by a decimal point (seconds) or its absence."""
    roles, places = [], None
    for word in words:
        name, unit = re.fullmatch(r"(.*?)(?:[_\[(]+(\w+)[\])]*)?", word.lower(), re.DOTALL).groups()  # type: ignore[union-attr]
        role = next((role for role, names in COLUMN_NAMES.items() if name in names), "")
        roles.append("" if role in roles else role)
        if role == "t" and unit in UNITS:
            places = UNITS[unit]
    if not set("txyp") <= set(roles):
        return None
    if places is None:
        index = roles.index("t")
        places = 6 if index < len(values) and "." in values[index] else 0
    return tuple(roles), places


def _from_meta(meta: Path, name: str) -> tuple[tuple[str, ...], int] | None:
    """Roles and places from meta.yaml, None if it does not name columns."""
    if not meta.is_file() or name == META_FILE:
        return None
    try:
        entries = yaml.safe_load(read_text(meta))
    except yaml.YAMLError:
        return None  # said when the file is read for the resolution
    if not isinstance(entries, dict) or "columns" not in entries:
        return None
    columns, unit = entries["columns"], str(entries.get("time_unit", "s"))
    roles = tuple(str(column) if str(column) in tuple("txyp") else "" for column in columns or ())
    if sorted("".join(roles)) != sorted("txyp") or len(roles) > MAX_COLUMNS:
        raise DataError(f"{meta}: columns is {columns!r}; name each of t, x, y, p once, such as columns: [x, y, p, t]")
    if unit not in UNITS:
        raise DataError(f"{meta}: time_unit is {unit!r}; expected is s, ms, us or ns")
    return roles, UNITS[unit]


def _guessed(path: Path, lines: list[bytes], size: SensorSize | None) -> TextLayout:
    """The order of comma-separated values: polarity is 0, 1 or -1, time never decreases, x comes before y."""
    rows = [_words(line) for line in lines if line.lstrip()[:1] not in (b"#", b"%")][:NUM_GUESSED]
    rows = [row for row in rows if row]
    if rows and all(len(row) == 4 and all(map(_is_number, row)) for row in rows):
        columns = [[float(row[k]) for row in rows] for k in range(4)]
        signs = [k for k, column in enumerate(columns) if set(column) <= {-1.0, 0.0, 1.0}]
        fractions = [any("." in row[k] for row in rows) for k in range(4)]
        largest = max(map(max, columns))
        times = [
            k for k, column in enumerate(columns)
            if k not in signs and all(before <= after for before, after in pairwise(column))
            and (fractions[k] if any(fractions) else max(column) == largest)
        ]  # fmt: skip
        if len(signs) == len(times) == 1:
            roles = ["x", "y"]
            for place, role in sorted([(signs[0], "p"), (times[0], "t")]):
                roles.insert(place, role)
            return TextLayout(tuple(roles), 6 if fractions[times[0]] else 0, size=size)
    raise DataError(
        f"{path}: the order of its columns cannot be told; write it into {META_FILE} beside it, such as "
        f"columns: [x, y, p, t] and time_unit: us"
    )
