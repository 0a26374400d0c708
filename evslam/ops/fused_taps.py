"""Taps of B-splines inside numba functions, unrolled where the code is generated; degree and order are constants.

Taps along y are computed for a vector of events at a time and kept in scratch memory, tap j of event e at
[j * count + e] (`store_taps`); the rest is vector code over the taps of a row, one event at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evslam.ops.cpu import tap_polynomials
from evslam.ops.fused_simd import LINE, Lanes, read, splatted, write

_AT = types.UniTuple(types.intp, 2)


def row_width(degree: int) -> int:
    """Lanes that hold a row of degree + 1 taps."""
    return 1 << degree.bit_length()


def channels_of(size: int) -> int:
    """Channels of an image with one for each of `size` parameters: a power of two."""
    return 4 if size <= 4 else 8


def _polynomials(degree: int, order: int, width: int) -> list[list[float]]:
    """Coefficients by power of s, highest first, each a row of `width` taps; unused ones are zero."""
    rows = np.zeros((max(degree - order, 0) + 1, width))
    rows[:, : degree + 1] = tap_polynomials(degree, order)[:, : len(rows)].T[::-1]
    return [[float(each) for each in row] for row in rows]


def _horner(builder: Any, coefficients: list[Any], s: Any) -> Any:
    value = coefficients[0]
    for each in coefficients[1:]:
        value = builder.fadd(builder.fmul(value, s), each)
    return value


@intrinsic(prefer_literal=True)
def taps_at(typingctx: Any, s: Any, degree: Any, order: Any) -> Any:
    """The degree + 1 taps of a derivative at one position s in the knot span, as a vector of `row_width`."""
    width = row_width(degree.literal_value)
    rows = _polynomials(degree.literal_value, order.literal_value, width)
    kind = Lanes(s, width)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        constants = [ir.Constant(context.get_value_type(kind), row) for row in rows]
        return _horner(builder, constants, splatted(builder, args[0], width))

    return kind(s, degree, order), codegen


@intrinsic(prefer_literal=True)
def store_taps(typingctx: Any, s: Any, degree: Any, order: Any, out: Any) -> Any:
    """The taps of a derivative at a vector of positions s, to scratch memory."""
    taps = degree.literal_value + 1
    rows = _polynomials(degree.literal_value, order.literal_value, taps)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for j in range(taps):
            constants = [ir.Constant(args[0].type, [row[j]] * s.count) for row in rows]
            write(context, builder, args[3], sig.args[3], j * s.count, _horner(builder, constants, args[0]))
        return context.get_dummy_value()

    return types.none(s, degree, order, out), codegen


def _tap(context: Any, builder: Any, taps: Any, kind: Any, j: int, event: Any) -> Any:
    """Number of an event in row j of scratch memory."""
    index = builder.add(event, ir.Constant(event.type, j * LINE * 8 // kind.dtype.bitwidth))
    return read(context, builder, taps, kind, index, None)


def _place(context: Any, builder: Any, starts: Any, kind: Any, at: Any) -> tuple[Any, Any, Any]:
    """First pixel of an event, stride and event from `at`."""
    stride, event = cgutils.unpack_tuple(builder, at, 2)
    return builder.sext(read(context, builder, starts, kind, event, None), stride.type), stride, event


@intrinsic(prefer_literal=True)
def vote(typingctx: Any, image: Any, start: Any, at: Any, kx: Any, ky: Any, degree: Any) -> Any:
    """Add the taps of one event to an image.

    start: flat index of the first tap of each event; at: (stride of the image, event); kx: row of taps; ky: taps
    along y in scratch memory.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first, stride, event = _place(context, builder, args[1], sig.args[1], args[2])
        for j in range(degree.literal_value + 1):
            tap = splatted(builder, _tap(context, builder, args[4], sig.args[4], j, event), kx.count)
            before = read(context, builder, args[0], sig.args[0], first, kx.count)
            write(context, builder, args[0], sig.args[0], first, builder.fadd(before, builder.fmul(args[3], tap)))
            first = builder.add(first, stride)
        return context.get_dummy_value()

    return types.none(image, start, _AT, kx, ky, degree), codegen


@intrinsic(prefer_literal=True)
def gather(typingctx: Any, image: Any, start: Any, at: Any, columns: Any, degree: Any) -> Any:
    """Sums over the rows of pixels of one event, once for each of the `columns` of taps along y: rows of sums."""
    width = row_width(degree.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first, stride, event = _place(context, builder, args[1], sig.args[1], args[2])
        several = cgutils.unpack_tuple(builder, args[3], len(columns))
        sums: list[Any] = [None] * len(columns)
        for j in range(degree.literal_value + 1):
            row = read(context, builder, args[0], sig.args[0], first, width)
            for n, column in enumerate(several):
                tap = _tap(context, builder, column, columns[n], j, event)
                part = builder.fmul(row, splatted(builder, tap, width))
                sums[n] = part if j == 0 else builder.fadd(sums[n], part)
            first = builder.add(first, stride)
        return context.make_tuple(builder, sig.return_type, sums)

    result = types.UniTuple(Lanes(image.dtype, width), len(columns))
    return result(image, start, _AT, columns, degree), codegen


def _assembled(context: Any, builder: Any, memory: Any, kind: Any, event: Any, rows: range) -> Any:
    """Vector of the numbers of one event from rows of scratch memory; further channels are zero."""
    vector = ir.Constant(ir.VectorType(context.get_data_type(kind.dtype), channels_of(len(rows))), None)
    for channel, row in enumerate(rows):
        value = _tap(context, builder, memory, kind, row, event)
        vector = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), channel))
    return vector


def _products(builder: Any, row: Any, vector: Any, taps: int) -> list[Any]:
    """The vector times each tap of a row."""
    lanes = [builder.extract_element(row, ir.Constant(ir.IntType(32), i)) for i in range(taps)]
    return [builder.fmul(vector, splatted(builder, each, vector.type.count)) for each in lanes]


@intrinsic(prefer_literal=True)
def spread(typingctx: Any, image: Any, memory: Any, at: Any, rows: Any, degree: Any, size: Any) -> Any:
    """Add J_x kappa'(x) kappa(y) + J_y kappa(x) kappa'(y) of one event to an image with a channel per parameter.

    memory: scratch (start, kappa and kappa' along y, jacobian as `size` rows of J_x, then of J_y); at: (stride,
    event); rows: kappa and kappa' along x. The image has `channels_of(size)` channels, side by side.
    """
    taps, number, channels = degree.literal_value + 1, size.literal_value, channels_of(size.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        start, ky, dy, jacobian = cgutils.unpack_tuple(builder, args[1], 4)
        kinds = sig.args[1]
        first, stride, event = _place(context, builder, start, kinds[0], args[2])
        jx, jy = (_assembled(context, builder, jacobian, kinds[3], event, range(n, n + number)) for n in (0, number))
        kx, dx = cgutils.unpack_tuple(builder, args[3], 2)
        along_x, along_y = _products(builder, dx, jx, taps), _products(builder, kx, jy, taps)
        for j in range(taps):
            value = splatted(builder, _tap(context, builder, ky, kinds[1], j, event), channels)
            slope = splatted(builder, _tap(context, builder, dy, kinds[2], j, event), channels)
            for i in range(taps):
                index = builder.mul(builder.add(first, ir.Constant(first.type, i)), ir.Constant(first.type, channels))
                total = read(context, builder, args[0], sig.args[0], index, channels)
                total = builder.fadd(total, builder.fmul(along_x[i], value))
                total = builder.fadd(total, builder.fmul(along_y[i], slope))
                write(context, builder, args[0], sig.args[0], index, total)
            first = builder.add(first, stride)
        return context.get_dummy_value()

    return types.none(image, memory, _AT, rows, degree, size), codegen
