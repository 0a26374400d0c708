"""Ways to damage a file: flipped bits, extreme numbers, pieces cut out, doubled, moved or overwritten, cut-off ends."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

EXTREME = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
Mutation = Callable[[bytearray, random.Random], None]


def flip_bits(content: bytearray, rng: random.Random) -> None:
    """Flips up to eight bits."""
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def extreme_number(content: bytearray, rng: random.Random) -> None:
    """Puts an extreme number of one to eight bytes somewhere."""
    form = rng.choice(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q"))
    width = struct.calcsize(form)
    if len(content) >= width:
        number = rng.choice(EXTREME) & ((1 << 8 * width) - 1)
        struct.pack_into(form, content, rng.randrange(len(content) - width + 1), number)


def overwrite(content: bytearray, rng: random.Random) -> None:
    """Overwrites a piece with noise or with one byte."""
    start, number = _piece(content, rng)
    content[start : start + number] = (
        rng.randbytes(number) if rng.random() < 0.5 else bytes([rng.randrange(256)]) * number
    )


def cut_out(content: bytearray, rng: random.Random) -> None:
    """Removes a piece."""
    start, number = _piece(content, rng)
    del content[start : start + number]


def double(content: bytearray, rng: random.Random) -> None:
    """Repeats a piece."""
    start, number = _piece(content, rng)
    content[start:start] = content[start : start + number]


def move(content: bytearray, rng: random.Random) -> None:
    """Moves a piece."""
    start, number = _piece(content, rng)
    piece = content[start : start + number]
    del content[start : start + number]
    place = rng.randrange(len(content) + 1)
    content[place:place] = piece


def insert(content: bytearray, rng: random.Random) -> None:
    """Inserts up to 64 bytes of noise."""
    place = rng.randrange(len(content) + 1)
    content[place:place] = rng.randbytes(rng.randint(1, 64))


def truncate(content: bytearray, rng: random.Random) -> None:
    """Cuts off the end."""
    del content[rng.randrange(len(content)) :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, extreme_number, overwrite, cut_out, double, move, insert, truncate
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> tuple[bytes, bool]:
    """The content after one to three mutations, half of the time in its first kilobyte; whether it was only cut off."""
    if rng.random() < 0.15:
        whole = bytearray(content)
        truncate(whole, rng)
        return bytes(whole), True
    head_bytes = min(len(content), 1024) if rng.random() < 0.5 else len(content)
    head, tail = bytearray(content[:head_bytes]), content[head_bytes:]
    for _ in range(rng.randint(1, 3)):
        if head:
            rng.choice(MUTATIONS)(head, rng)
    return bytes(head) + tail, False


def _piece(content: bytearray, rng: random.Random) -> tuple[int, int]:
    """Start and length of a piece, small ones more often."""
    start = rng.randrange(len(content))
    return start, min(rng.choice((1, 2, 4, 8, 16, 64, 256, 1024)), len(content) - start)
