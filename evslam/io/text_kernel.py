"""Compiled parser of text events: exact decimal arithmetic, no detour through float64."""

from __future__ import annotations

import numpy as np
from numba import njit

MICROSECONDS = 6  # decimal places of a second
MAX_SCALED = 10**17  # larger values are refused: as a time it is the year 5138
_NEWLINE, _HASH, _POINT, _PLUS, _MINUS, _ZERO = 10, 35, 46, 43, 45, 48


@njit(cache=True)
def _skip_blanks(text: np.ndarray, i: int) -> int:
    while i < len(text) and (text[i] == 32 or text[i] == 9 or text[i] == 13):
        i += 1
    return i


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


@njit(cache=True, nogil=True)
def parse_events(text: np.ndarray, t: np.ndarray, columns: np.ndarray) -> tuple[int, int]:
    """Parses lines "t[s] x y p"; empty lines and lines that begin with # are skipped.

    Args:
        text: (B,) uint8, whole lines.
        t: (N,) int64, receives microseconds; N at least the number of lines.
        columns: (3, N) int32, receives x, y, p.

    Returns:
        Number of events, and the offset of the first line that is no event (B when there is none).
    """
    num_events, i = 0, 0
    while True:
        line = i
        i = _skip_blanks(text, i)
        if i == len(text):
            return num_events, i
        if text[i] == _HASH:
            while i < len(text) and text[i] != _NEWLINE:
                i += 1
        elif text[i] != _NEWLINE:
            value, _, i = _decimal(text, i, MICROSECONDS)
            t[num_events] = value
            for column in range(3):
                if i < 0:
                    return num_events, line
                before = i
                value, exact, i = _decimal(text, i, 0)
                columns[column, num_events] = min(max(value, -(1 << 31)), (1 << 31) - 1)
                if not exact or _skip_blanks(text, before) == before:
                    return num_events, line
            if i < 0:
                return num_events, line
            i = _skip_blanks(text, i)
            if i < len(text) and text[i] != _NEWLINE:
                return num_events, line
            num_events += 1
        i += 1
        if i >= len(text):
            return num_events, len(text)
