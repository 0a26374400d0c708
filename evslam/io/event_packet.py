"""The encodings inside event_camera_msgs/EventPacket: evt3, libcaer_cmp, libcaer and mono.

Source: event_camera_msgs and event_camera_codecs (github.com/ros-event-camera), README and headers. evt3 verified
against the same recording in three containers and another decoder for its words; the others against messages written
from the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from evslam.io import prophesee_kernel as kernel
from evslam.io.clock import unwrapped
from evslam.io.prophesee import ENCODINGS
from evslam.io.ros_messages import EventPacket, MessageError

EVT3 = ENCODINGS["EVT3"]
EVT3_RANGE_US = 1 << (kernel.EVT3_HIGH_BITS + kernel.EVT3_LOW_BITS)


@dataclass(frozen=True)
class Columns:
    """Decoded events; t in microseconds."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


class PacketDecoder:
    """Decodes packets in their order.

    The encoding evt3 carries the sensor's own 24-bit clock. It is shifted to ROS time so that the first event of the
    recording has the time of the first packet's header; the drift between the clocks stays in it.

    Args:
        start_us: ROS time minus sensor time, None when the first packet is to tell it.

    Attributes:
        start_us: as above, once known.
    """

    def __init__(self, start_us: int | None = None) -> None:
        self.start_us = start_us
        self._state = kernel.new_state()
        self._is_aligned = False  # whether it is known how often the clock overflowed before this pass

    def decode(self, packet: EventPacket) -> Columns:
        """The events of a packet.

        Raises:
            MessageError: its encoding is unknown.
        """
        if packet.encoding == "evt3":
            return self._evt3(packet)
        if packet.encoding not in DECODERS:
            raise MessageError(f"events in the encoding {packet.encoding!r}; known are evt3, {', '.join(DECODERS)}")
        return DECODERS[packet.encoding](packet)

    def _evt3(self, packet: EventPacket) -> Columns:
        words = EVT3.words(packet.content)
        number = EVT3.count(words, self._state.copy())
        events = EVT3.events(words, self._state, number, str)
        if number == 0:
            return Columns(events.t, events.x, events.y, events.p)
        if self.start_us is None:
            self.start_us = packet.stamp_us - int(events.t[0])
        if not self._is_aligned:
            loops = round((packet.stamp_us - self.start_us - int(events.t[0])) / EVT3_RANGE_US)
            self._state[kernel.LOOPS] += loops
            events.t[:] += loops * EVT3_RANGE_US
            self._is_aligned = True
        return Columns(events.t + self.start_us, events.x, events.y, events.p)


def _mono(packet: EventPacket) -> Columns:
    """64-bit words: nanoseconds after the time base in 32 bits, x 16, y 15, polarity 1."""
    halves = np.frombuffer(packet.content[: len(packet.content) // 8 * 8], "<u4")
    t = (packet.time_base_ns + halves[0::2].astype(np.int64)) // 1000
    place = halves[1::2]
    return Columns(t, (place & 0xFFFF).astype(np.uint16), (place >> 16 & 0x7FFF).astype(np.uint16), place >> 31 > 0)


def _libcaer(packet: EventPacket) -> Columns:
    """libcaer's polarity events: x, y of 15 bits, polarity; microseconds in 31 bits that may overflow."""
    halves = np.frombuffer(packet.content[: len(packet.content) // 8 * 8], "<u4")
    place = halves[0::2]
    t = packet.time_base_ns // 1000 + unwrapped(halves[1::2] & 0x7FFFFFFF, 31)
    return Columns(
        t, (place >> 17 & 0x7FFF).astype(np.uint16), (place >> 2 & 0x7FFF).astype(np.uint16), place >> 1 & 1 > 0
    )


def _libcaer_cmp(packet: EventPacket) -> Columns:
    words = np.frombuffer(packet.content[: len(packet.content) // 2 * 2], "<u2")
    most = 8 * len(words)
    t, x, y = np.empty(most, np.int64), np.empty(most, np.uint16), np.empty(most, np.uint16)
    p = np.empty(most, bool)
    number = decode_libcaer_cmp(words, t, x, y, p)
    return Columns(t[:number] + packet.time_base_ns // 1000, x[:number], y[:number], p[:number])


@njit(cache=True, nogil=True)
def decode_libcaer_cmp(words: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> int:
    """Words of 16 bits: type 4, content 12 (time high and low, column, row, base row, mask of 8 rows)."""
    num_events = 0
    high = low = column = base = polarity = np.int64(0)
    for i in range(len(words)):
        word = np.int64(words[i])
        kind, content = word >> 12, word & 0xFFF
        valid, row = np.int64(0), np.int64(0)
        if kind == 0:
            high = content
        elif kind == 1:
            low = content
        elif kind == 2:
            column = content & 0x7FF
        elif kind == 3:
            row, valid, polarity_here = content & 0x7FF, np.int64(1), content >> 11
        elif kind == 4:
            base, polarity = content & 0x7FF, content >> 11
        elif kind == 5:
            row, valid, polarity_here = base, content & 0xFF, polarity
            base += 8
        while valid:
            if valid & 1:
                t[num_events], x[num_events] = high << 12 | low, column
                y[num_events], p[num_events] = row & 0xFFFF, polarity_here
                num_events += 1
            row += 1
            valid >>= 1
    return num_events


DECODERS: dict[str, Callable[[EventPacket], Columns]] = {
    "libcaer_cmp": _libcaer_cmp,
    "libcaer": _libcaer,
    "mono": _mono,
}
