"""Triton kernels of the two binning primitives for CUDA, one to three dimensions; twins of `evslam.ops.cpu`.

Imported only when events live on a GPU (or, with TRITON_INTERPRET=1, by tests). One program treats a block of events
for one column: the taps along x lie across the lanes of a tile, the rows of taps (y, and t) are a loop. Votes are
atomic additions, so the last digits of a histogram depend on their order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

from evslam.ops.kernels import profile

_BLOCK = 64
Order = tuple[int, ...]


# SPEC is (dimensions, taps per axis, terms per polynomial, lanes >= taps, events per program), all at compile time;
# plan holds int32 [events, bins along x, y, t, derivatives of column 0 along x, y, t, of column 1 ...].


@triton.jit
def _locate(u, live, size, TAPS: tl.constexpr):  # type: ignore[no-untyped-def]
    """First bin, position in [-1/2, 1/2) of the span, and whether the event can touch the axis (NaN cannot)."""
    live = live & (u > -TAPS) & (u < size + TAPS)
    u = tl.where(live, u, 0.0)
    first = tl.floor(u)
    s = u - first
    if TAPS % 2 == 1:
        nearer = s >= 0.5
        first = tl.where(nearer, first + 1.0, first)
        s = tl.where(nearer, s - 1.0, s)
    else:
        s = s - 0.5
    return first.to(tl.int32) - (TAPS - 1) // 2, s, live


@triton.jit
def _tap(table, order, tap, s, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Weight of one tap at the positions s, by Horner's rule."""
    row = table + (order * SPEC[1] + tap) * SPEC[2]
    value = s * 0.0 + tl.load(row + SPEC[2] - 1)
    for k in range(1, SPEC[2]):
        value = value * s + tl.load(row + SPEC[2] - 1 - k)
    return value


@triton.jit
def _place(coords, plan, orders, table, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Of a block of events: first bins and positions along y and t; the tile of bins along x, weights and a mask."""
    i = tl.program_id(0) * SPEC[4] + tl.arange(0, SPEC[4])
    live = i < tl.load(plan)
    x, sx, live = _locate(tl.load(coords + i * SPEC[0], mask=live, other=0.0), live, tl.load(plan + 1), SPEC[1])
    y, sy, t, st = x * 0, sx * 0.0, x * 0, sx * 0.0
    if SPEC[0] > 1:
        u = tl.load(coords + i * SPEC[0] + 1, mask=live, other=0.0)
        y, sy, live = _locate(u, live, tl.load(plan + 2), SPEC[1])
    if SPEC[0] > 2:
        u = tl.load(coords + i * SPEC[0] + 2, mask=live, other=0.0)
        t, st, live = _locate(u, live, tl.load(plan + 3), SPEC[1])
    lane = tl.arange(0, SPEC[3])
    row = table + (tl.load(orders) * SPEC[1] + lane) * SPEC[2]
    weights = sx[:, None] * 0.0 + tl.load(row + SPEC[2] - 1, mask=lane < SPEC[1], other=0.0)[None, :]
    for k in range(1, SPEC[2]):
        weights = weights * sx[:, None] + tl.load(row + SPEC[2] - 1 - k, mask=lane < SPEC[1], other=0.0)[None, :]
    bins = x[:, None] + lane[None, :]
    inside = live[:, None] & (lane < SPEC[1])[None, :] & (bins >= 0) & (bins < tl.load(plan + 1))
    return (y, sy, t, st), bins, weights, inside


@triton.jit
def _row(r, place, plan, orders, table, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Weight of row r of the taps, index of the row in a packet, and whether it lies inside."""
    y, sy, t, st = place
    weight, index, inside = sy * 0.0 + 1.0, y.to(tl.int64) * 0, y == y
    if SPEC[0] > 2:
        layer = t + r // SPEC[1]
        weight = weight * _tap(table, tl.load(orders + 2), r // SPEC[1], st, SPEC)
        index, inside = layer.to(tl.int64), inside & (layer >= 0) & (layer < tl.load(plan + 3))
    if SPEC[0] > 1:
        line = y + r % SPEC[1]
        weight = weight * _tap(table, tl.load(orders + 1), r % SPEC[1], sy, SPEC)
        index, inside = index * tl.load(plan + 2) + line, inside & (line >= 0) & (line < tl.load(plan + 2))
    return weight, index, inside


@triton.jit
def _packet(packets, plan, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Numbers of a block of events, which of them exist, and the first row of their packets."""
    i = tl.program_id(0) * SPEC[4] + tl.arange(0, SPEC[4])
    exists = i < tl.load(plan)
    start = tl.load(packets + i, mask=exists, other=0) * tl.load(plan + 2).to(tl.int64) * tl.load(plan + 3)
    return i, exists, start


@triton.jit
def _scatter(coords, columns, packets, plan, table, out, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    orders = plan + 4 + 3 * tl.program_id(1)
    place, bins, weights, inside = _place(coords, plan, orders, table, SPEC)
    i, exists, start = _packet(packets, plan, SPEC)
    mass = tl.load(columns + i * tl.num_programs(1) + tl.program_id(1), mask=exists, other=0.0)
    for r in range(SPEC[1] ** (SPEC[0] - 1)):
        factor, index, within = _row(r, place, plan, orders, table, SPEC)
        at = ((start + index) * tl.load(plan + 1))[:, None] + bins
        tl.atomic_add(out + at, weights * (mass * factor)[:, None], mask=inside & within[:, None])


@triton.jit
def _gather(image, coords, packets, plan, table, out, SPEC: tl.constexpr):  # type: ignore[no-untyped-def]
    orders = plan + 4 + 3 * tl.program_id(1)
    place, bins, weights, inside = _place(coords, plan, orders, table, SPEC)
    i, exists, start = _packet(packets, plan, SPEC)
    total = place[1] * 0.0
    for r in range(SPEC[1] ** (SPEC[0] - 1)):
        factor, index, within = _row(r, place, plan, orders, table, SPEC)
        at = ((start + index) * tl.load(plan + 1))[:, None] + bins
        values = tl.load(image + at, mask=inside & within[:, None], other=0.0)
        total += factor * tl.sum(values * weights, 1)
    tl.store(out + i * tl.num_programs(1) + tl.program_id(1), total, mask=exists)


def scatter(
    coords: Tensor, columns: Tensor, offsets: Tensor, shape: tuple[int, ...], name: str, orders: list[Order]
) -> Tensor:
    """H[b, j] = sum_i sum_c W[i, c] f_c(u_i - j); arguments and result as `evslam.ops.cpu.scatter`, in tensors."""
    out = coords.new_zeros(len(offsets) - 1, *shape)
    tensors = (coords.contiguous(), columns.contiguous())
    _launch(_scatter, tensors, out, offsets, shape, (name, orders))
    return out


def gather(image: Tensor, coords: Tensor, offsets: Tensor, name: str, orders: list[Order]) -> Tensor:
    """G[i, c] = sum_j v[b, j] f_c(u_i - j); arguments and result as `evslam.ops.cpu.gather`, in tensors."""
    out = coords.new_zeros(len(coords), len(orders))
    tensors = (image.contiguous(), coords.contiguous())
    _launch(_gather, tensors, out, offsets, tuple(image.shape[1:]), (name, orders))
    return out


def _launch(
    kernel: Any,
    tensors: tuple[Tensor, Tensor],
    out: Tensor,
    offsets: Tensor,
    shape: tuple[int, ...],
    functions: tuple[str, list[Order]],
) -> None:
    name, orders = functions
    num = int(offsets[-1])
    if num == 0:
        return
    device, highest = out.device, max(max(order) for order in orders)
    table = _table(name, highest, out.dtype, device)
    packets = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=device), offsets.diff())
    derivatives = [n for order in orders for n in (*order, 0, 0)[:3]]
    plan = torch.tensor([num, *(*reversed(shape), 1, 1)[:3], *derivatives], dtype=torch.int32, device=device)
    _, taps, terms = table.shape
    spec = (len(shape), taps, terms, max(2, triton.next_power_of_2(taps)), _BLOCK)
    with torch.cuda.device_of(out):
        kernel[(triton.cdiv(num, _BLOCK), len(orders))](*tensors, packets, plan, table, out, spec)


@lru_cache(maxsize=256)
def _table(name: str, highest: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    return torch.from_numpy(profile(name).table(highest, numpy_dtype)).to(device)
