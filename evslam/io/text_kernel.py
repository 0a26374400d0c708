"""Compiled parser of text events: exact decimal arithmetic, no detour through float64."""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_SCALED = 10**17  # larger values are refused: as a time it is the year 5138
_NEWLINE, _HASH, _PERCENT, _POINT, _PLUS, _MINUS, _ZERO = 10, 35, 37, 46, 43, 45, 48
_BLANK, _TAB, _RETURN, _COMMA, _SEMICOLON = 32, 9, 13, 44, 59
SKIPPED, TIME = -1, 3  # roles of a column beside 0, 1, 2: x, y, p


@njit(cache=True)
def _skip_blanks(text: np.ndarray, i: int) -> int:
    while i < len(text) and (text[i] == _BLANK or text[i] == _TAB or text[i] == _RETURN):
        i += 1
    return i


@njit(cache=True)
def _skip_separator(text: np.ndarray, i: int) -> int:
    """Blanks with at most one comma or semicolon among them."""
    i = _skip_blanks(text, i)
    if i < len(text) and (text[i] == _COMMA or text[i] == _SEMICOLON):
        i = _skip_blanks(text, i + 1)
    return i


@njit(cache=True)
def _skip_word(text: np.ndarray, i: int) -> int:
    """The end of the word at i, -1 when there is none."""
    first = i
    while i < len(text) and text[i] > _BLANK and text[i] != _COMMA and text[i] != _SEMICOLON:
        i += 1
    return i if i > first else -1


@njit(cache=True)
def _exponent(text: np.ndarray, i: int) -> tuple[int, int]:
    """Reads "e-05" at i: (exponent, next position); position -1 when there are no digits."""
    i += 1
    sign = 1
    if i < len(text) and (text[i] == _PLUS or text[i] == _MINUS):
        sign = -1 if text[i] == _MINUS else 1
        i += 1
    first, value = i, 0
    while i < len(text) and _ZERO <= text[i] <= _ZERO + 9:
        value = min(value * 10 + (text[i] - _ZERO), 10_000)
        i += 1
    return sign * value, (i if i > first else -1)


@njit(cache=True)
def _scale(value: int, exponent: int) -> tuple[int, bool]:
    """(value * 10**exponent rounded half up, whether that is exact) for value >= 0."""
    while exponent > 0 and 0 < value <= MAX_SCALED:
        value *= 10
        exponent -= 1
    if exponent >= 0 or value == 0:
        return value, True
    if exponent < -18:
        return 0, False
    divisor = 1
    for _ in range(-exponent):
        divisor *= 10
    rest = value % divisor
    return value // divisor + (1 if rest >= divisor - rest else 0), rest == 0


@njit(cache=True)
def _decimal(text: np.ndarray, i: int, places: int) -> tuple[int, bool, int]:
    """Reads a decimal number at i.

    Returns:
        number * 10**places rounded to an integer (half away from zero), whether that is exact, and the next position,
        which is -1 when no number stands here or it is too large.
    """
    i = _skip_blanks(text, i)
    negative = False
    if i < len(text) and (text[i] == _PLUS or text[i] == _MINUS):
        negative = text[i] == _MINUS
        i += 1
    value, exponent, num_digits, fraction = 0, places, 0, 0
    while i < len(text):
        digit = int(text[i]) - _ZERO
        if 0 <= digit <= 9:
            num_digits += 1
            if value < MAX_SCALED:  # 18 digits are enough: what follows is below the resolution
                value = value * 10 + digit
                exponent -= fraction
            else:
                exponent += 1 - fraction
        elif digit == _POINT - _ZERO and fraction == 0:
            fraction = 1
        else:
            break
        i += 1
    if num_digits and i < len(text) and (text[i] == 101 or text[i] == 69):
        power, i = _exponent(text, i)
        exponent += power
    value, exact = _scale(value, exponent)
    if num_digits == 0 or value > MAX_SCALED:
        i = -1
    return (-value if negative else value), exact, i


@njit(cache=True)
def _parse_line(
    text: np.ndarray, i: int, t: np.ndarray, columns: np.ndarray, roles: np.ndarray, places: int, event: int
) -> int:
    """Stores the line at i as an event; the position after its last column, -1 when it is none."""
    for column in range(len(roles)):
        before = i
        i = _skip_separator(text, i)
        if column > 0 and i == before:
            return -1
        if roles[column] == SKIPPED:
            i = _skip_word(text, i)
        else:
            is_time = roles[column] == TIME
            value, exact, i = _decimal(text, i, places if is_time else 0)
            if is_time:
                t[event] = value
            elif exact:
                columns[roles[column], event] = min(max(value, -(1 << 31)), (1 << 31) - 1)
            else:
                return -1
        if i < 0:
            return -1
    return _skip_blanks(text, i)


@njit(cache=True, nogil=True)
def parse_events(
    text: np.ndarray, t: np.ndarray, columns: np.ndarray, roles: np.ndarray, places: int
) -> tuple[int, int]:
    """Parses lines of numbers; empty lines and lines that begin with # or % are skipped.

    Args:
        text: (B,) uint8, whole lines.
        t: (N,) int64, receives microseconds; N at least the number of lines.
        columns: (3, N) int32, receives x, y, p.
        roles: (C,) int8, for each column of the text its row in `columns`, TIME or SKIPPED.
        places: decimal places of a microsecond in the unit of the times: 6 for seconds.

    Returns:
        Number of events, and the offset of the first line that is no event (B when there is none).
    """
    num_events, i = 0, 0
    while True:
        line = i
        i = _skip_blanks(text, i)
        if i == len(text):
            return num_events, i
        if text[i] == _HASH or text[i] == _PERCENT:
            while i < len(text) and text[i] != _NEWLINE:
                i += 1
        elif text[i] != _NEWLINE:
            i = _parse_line(text, i, t, columns, roles, places, num_events)
            if i < 0 or (i < len(text) and text[i] != _NEWLINE):
                return num_events, line
            num_events += 1
        i += 1
        if i >= len(text):
            return num_events, len(text)
