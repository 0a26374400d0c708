"""Vectors of a fixed number of lanes inside numba functions: arithmetic operators, loads, stores, a few primitives.

LLVM lowers a vector to the registers that the machine has, whatever their width, so one source serves SSE, AVX and
NEON. Scalars beside a vector take its type, so that a literal never promotes float32 to float64. `lanes` must be a
constant where a function asks for it. Indices are flat, arrays contiguous, and nothing checks the bounds.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np import arrayobj

LINE = 64  # bytes of a vector of events: a cache line


class Lanes(types.Type):
    """Numba type of a vector of `count` numbers of one type."""

    def __init__(self, dtype: types.Type, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(f"Lanes({dtype}, {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), kind.count))


class _Arithmetic(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        vector = next((each for each in args if isinstance(each, Lanes)), None)
        if vector is not None and all(isinstance(each, (types.Number, types.IntegerLiteral, Lanes)) for each in args):
            return signature(vector, *args)
        return None


def _declare(function: Any, instruction: str) -> None:
    """Teach numba one operator on vectors, or on a vector and a scalar."""
    infer_global(function)(type(f"_{instruction}", (_Arithmetic,), {"key": function}))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*_vectors(context, builder, sig.return_type, args, sig.args))

    for kinds in ((Lanes,),) if function is operator.neg else ((Lanes, Lanes), (Lanes, types.Any), (types.Any, Lanes)):
        lower_builtin(function, *kinds)(lower)


for _pair in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.neg, "fneg"),
):
    _declare(*_pair)


# Pieces of code generation, shared with `fused_taps`.


def splatted(builder: Any, scalar: Any, count: int) -> Any:
    """A scalar in every lane."""
    empty = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), count), None))


def _vectors(context: Any, builder: Any, vector: Lanes, values: Any, kinds: Any) -> list[Any]:
    """Scalars become vectors, vectors pass."""
    return [
        value
        if isinstance(kind, Lanes)
        else splatted(builder, context.cast(builder, value, kind, vector.dtype), vector.count)
        for value, kind in zip(values, kinds, strict=True)
    ]


def picked(builder: Any, a: Any, b: Any, lanes: Iterable[int]) -> Any:
    """Lanes of a and b (numbered on from those of a) as a new vector."""
    order = [ir.Constant(ir.IntType(32), lane) for lane in lanes]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def address(context: Any, builder: Any, array: Any, kind: Any, index: Any, lanes: int | None) -> Any:
    """Pointer to `lanes` elements of an array from a flat index; lanes None for one element, not a vector."""
    if isinstance(index, int):
        index = ir.Constant(context.get_value_type(types.intp), index)
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return pointer if lanes is None else builder.bitcast(pointer, _vector_type(context, kind, lanes).as_pointer())


def _vector_type(context: Any, kind: Any, lanes: int) -> Any:
    return ir.VectorType(context.get_data_type(kind.dtype), lanes)


def read(context: Any, builder: Any, array: Any, kind: Any, index: Any, lanes: int | None) -> Any:
    """Elements of an array: see `address`."""
    value = builder.load(address(context, builder, array, kind, index, lanes))
    value.align = kind.dtype.bitwidth // 8
    return value


def write(context: Any, builder: Any, array: Any, kind: Any, index: Any, value: Any) -> None:
    """Store a vector, as whole numbers (towards zero) where the array holds such."""
    lanes = value.type.count
    if isinstance(kind.dtype, types.Integer):
        value = builder.fptosi(value, _vector_type(context, kind, lanes))
    builder.store(value, address(context, builder, array, kind, index, lanes)).align = kind.dtype.bitwidth // 8


def _to_index(context: Any, builder: Any, sig: Any, args: Any, position: int) -> Any:
    return context.cast(builder, args[position], sig.args[position], types.intp)


# What numba functions call.


@intrinsic(prefer_literal=True)
def load(typingctx: Any, array: Any, start: Any, lanes: Any) -> Any:
    """Vector of array[start : start + lanes]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = _to_index(context, builder, sig, args, 1)
        return read(context, builder, args[0], sig.args[0], index, sig.return_type.count)

    return Lanes(array.dtype, lanes.literal_value)(array, types.unliteral(start), lanes), codegen


@intrinsic
def load_line(typingctx: Any, array: Any, start: Any) -> Any:
    """Vector of as many numbers as fit a cache line."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = _to_index(context, builder, sig, args, 1)
        return read(context, builder, args[0], sig.args[0], index, sig.return_type.count)

    return Lanes(array.dtype, LINE * 8 // array.dtype.bitwidth)(array, start), codegen


@intrinsic
def store(typingctx: Any, array: Any, start: Any, value: Any) -> Any:
    """array[start : start + lanes] = value."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        write(context, builder, args[0], sig.args[0], _to_index(context, builder, sig, args, 1), args[2])
        return context.get_dummy_value()

    return types.none(array, start, value), codegen


@intrinsic
def add_to(typingctx: Any, array: Any, start: Any, value: Any) -> Any:
    """array[start : start + lanes] += value."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = _to_index(context, builder, sig, args, 1)
        before = read(context, builder, args[0], sig.args[0], index, value.count)
        write(context, builder, args[0], sig.args[0], index, builder.fadd(before, args[2]))
        return context.get_dummy_value()

    return types.none(array, start, value), codegen


@intrinsic(prefer_literal=True)
def load_pairs(typingctx: Any, array: Any, lanes: Any) -> Any:
    """Two vectors from pairs that stand side by side from the array's beginning."""
    count = lanes.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        both = read(context, builder, args[0], sig.args[0], 0, 2 * count)
        parts = [picked(builder, both, both, range(n, 2 * count, 2)) for n in (0, 1)]
        return context.make_tuple(builder, sig.return_type, parts)

    return types.UniTuple(Lanes(array.dtype, count), 2)(array, lanes), codegen


@intrinsic(prefer_literal=True)
def scratch(typingctx: Any, like: Any, count: Any) -> Any:
    """Array of `count` numbers on the stack, aligned to a cache line, of the element type of an array.

    Not initialised; gone when the calling function returns.
    """
    kind, number = types.Array(like.dtype, 1, "C"), count.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        memory = cgutils.alloca_once(builder, ir.ArrayType(context.get_data_type(kind.dtype), number))
        memory.align = LINE
        array = context.make_array(kind)(context, builder)
        size, step = (context.get_constant(types.intp, n) for n in (number, kind.dtype.bitwidth // 8))
        pointer = builder.bitcast(memory, context.get_data_type(kind.dtype).as_pointer())
        arrayobj.populate_array(array, pointer, (size,), (step,), step, None)
        return array._getvalue()

    return kind(like, count), codegen


@intrinsic
def splat(typingctx: Any, value: Any, like: Any) -> Any:
    """Vector with a scalar in every lane, of the type of `like`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _vectors(context, builder, like, args[:1], sig.args[:1])[0]

    return like(value, like), codegen


@intrinsic
def lane(typingctx: Any, vector: Any, number: Any) -> Any:
    """One lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], args[1])

    return vector.dtype(vector, number), codegen


def _halved(builder: Any, value: Any) -> Any:
    half = value.type.count // 2
    parts = [picked(builder, value, value, range(start, start + half)) for start in (0, half)]
    return builder.fadd(*parts)


@intrinsic
def total(typingctx: Any, vector: Any) -> Any:
    """Sum over the lanes, in pairs; their number is a power of two."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = args[0]
        while value.type.count > 1:
            value = _halved(builder, value)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


@intrinsic
def pair_total(typingctx: Any, first: Any, second: Any) -> Any:
    """(total(first), total(second)) as a vector of two: fewer shuffles than one after the other."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = args
        while a.type.count > 4:
            a, b = _halved(builder, a), _halved(builder, b)
        if a.type.count == 2:
            return builder.fadd(picked(builder, a, b, (0, 2)), picked(builder, a, b, (1, 3)))
        a = builder.fadd(picked(builder, a, b, (0, 1, 4, 5)), picked(builder, a, b, (2, 3, 6, 7)))
        return builder.fadd(picked(builder, a, a, (0, 2)), picked(builder, a, a, (1, 3)))

    return Lanes(first.dtype, 2)(first, second), codegen


def _of_each_lane(name: str, vector: Any) -> Any:
    """Signature and code of one of LLVM's functions of a floating-point number."""
    full = f"llvm.{name}.v{vector.count}f{vector.dtype.bitwidth}"

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(args[0].type, [args[0].type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), args)

    return vector(vector), codegen


@intrinsic
def floor(typingctx: Any, vector: Any) -> Any:
    """Largest whole number not above each lane."""
    return _of_each_lane("floor", vector)


@intrinsic
def square_root(typingctx: Any, vector: Any) -> Any:
    """Square root of each lane."""
    return _of_each_lane("sqrt", vector)


@intrinsic
def where_between(typingctx: Any, value: Any, low: Any, high: Any, inside: Any, outside: Any) -> Any:
    """`inside` where low <= value < high, else `outside`; not a number is outside. Vectors or scalars."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        test, lowest, highest, yes, no = _vectors(context, builder, value, args, sig.args)
        above, below = builder.fcmp_ordered(">=", test, lowest), builder.fcmp_ordered("<", test, highest)
        return builder.select(builder.and_(above, below), yes, no)

    return value(value, low, high, inside, outside), codegen
