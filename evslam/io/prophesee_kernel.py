"""Compiled decoders of Prophesee's event encodings; each carries its state from block to block.

Sources: Metavision documentation, "EVT 2.0 / 2.1 / 3.0 Format" (docs.prophesee.ai, data/encoding_formats).

A decoder takes (words, state, t, x, y, p) and returns the number of events in `words`; it stores them unless the arrays
are empty. `state` is int64: UNTIMED counts events before the first time word, DAMAGED words of a reserved type.
"""

from __future__ import annotations

import numpy as np
from numba import njit

STATE_SIZE = 8
HIGH, LOOPS, UNTIMED, DAMAGED, LOW, ROW, BASE, POLARITY = range(STATE_SIZE)
EVT2_LOW_BITS, EVT2_HIGH_BITS = 6, 28
EVT3_LOW_BITS, EVT3_HIGH_BITS = 12, 12


def new_state() -> np.ndarray:
    """The state at the beginning of a recording: no time yet."""
    state = np.zeros(STATE_SIZE, np.int64)
    state[HIGH] = -1
    return state


@njit(cache=True, nogil=True)
def _set_high(state: np.ndarray, high: int, bits: int) -> None:
    """Takes over the upper time bits; a step back by more than half of their range is an overflow."""
    if state[HIGH] - high > 1 << (bits - 1):
        state[LOOPS] += 1
    if high != state[HIGH]:
        state[LOW] = 0  # the lower bits follow
    state[HIGH] = high


@njit(cache=True, nogil=True)
def decode_evt2(
    words: np.ndarray, state: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray
) -> int:
    """EVT 2.0, (N,) uint32 words: type 4 bits, time 6, x 11, y 11; time words hold the upper 28 bits."""
    num_events, store = 0, len(t) > 0
    for i in range(len(words)):
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:
            if state[HIGH] < 0:
                state[UNTIMED] += 1
                continue
            if store:
                high = (state[LOOPS] << EVT2_HIGH_BITS) | state[HIGH]
                t[num_events] = (high << EVT2_LOW_BITS) | (word >> 22 & 0x3F)
                x[num_events] = word >> 11 & 0x7FF
                y[num_events] = word & 0x7FF
                p[num_events] = kind
            num_events += 1
        elif kind == 8:
            _set_high(state, word & 0xFFFFFFF, EVT2_HIGH_BITS)
        elif kind != 0xA and kind != 0xE and kind != 0xF:
            state[DAMAGED] += 1
    return num_events


@njit(cache=True, nogil=True)
def decode_evt21(
    words: np.ndarray, state: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray
) -> int:
    """EVT 2.1, (N,) uint64 words: as EVT 2.0 in the upper half, a mask of 32 pixels from x on in the lower half."""
    num_events, store = 0, len(t) > 0
    for i in range(len(words)):
        word = np.int64(words[i] >> np.uint64(32))
        kind = word >> 28
        if kind <= 1:
            valid = np.int64(words[i] & np.uint64(0xFFFFFFFF))
            high = (state[LOOPS] << EVT2_HIGH_BITS) | state[HIGH]
            for bit in range(32):
                if valid >> bit & 1:
                    if state[HIGH] < 0:
                        state[UNTIMED] += 1
                        continue
                    if store:
                        t[num_events] = (high << EVT2_LOW_BITS) | (word >> 22 & 0x3F)
                        x[num_events] = (word >> 11 & 0x7FF) + bit
                        y[num_events] = word & 0x7FF
                        p[num_events] = kind
                    num_events += 1
        elif kind == 8:
            _set_high(state, word & 0xFFFFFFF, EVT2_HIGH_BITS)
        elif kind != 0xA and kind != 0xE and kind != 0xF:
            state[DAMAGED] += 1
    return num_events


@njit(cache=True, nogil=True)
def decode_evt3(
    words: np.ndarray, state: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray
) -> int:
    """EVT 3.0, (N,) uint16 words: type 4 bits, content 12; row, base column and time persist until they change."""
    num_events, store = 0, len(t) > 0
    for i in range(len(words)):
        word = np.int64(words[i])
        kind, content = word >> 12, word & 0xFFF
        first, valid, polarity = np.int64(-1), np.int64(0), state[POLARITY]
        if kind == 0:
            state[ROW] = content & 0x7FF
        elif kind == 2:
            first, valid, polarity = content & 0x7FF, np.int64(1), content >> 11
        elif kind == 3:
            state[BASE], state[POLARITY] = content & 0x7FF, content >> 11
        elif kind == 4:
            first, valid = state[BASE], content
            state[BASE] += 12
        elif kind == 5:
            first, valid = state[BASE], content & 0xFF
            state[BASE] += 8
        elif kind == 6:
            state[LOW] = content
        elif kind == 8:
            _set_high(state, content, EVT3_HIGH_BITS)
        elif kind != 7 and kind != 0xA and kind != 0xE and kind != 0xF:
            state[DAMAGED] += 1
        time = ((state[LOOPS] << EVT3_HIGH_BITS | state[HIGH]) << EVT3_LOW_BITS) | state[LOW]
        while valid:
            if valid & 1:
                if state[HIGH] < 0:
                    state[UNTIMED] += 1
                else:
                    if store:
                        t[num_events] = time
                        x[num_events] = first & 0xFFFF
                        y[num_events] = state[ROW]
                        p[num_events] = polarity
                    num_events += 1
            first += 1
            valid >>= 1
    return num_events
