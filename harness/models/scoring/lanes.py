"""Eight numbers at once in compiled code, for loops that are too short for a compiler to make vectors of them.

A candidate's vector has some twenty numbers. Compilers make vectors of loops over thirty-two or more, and go through
shorter ones number by number. `load` reads eight numbers of a row of a table and `store` writes them; in between they
add, subtract and multiply as one number does. Rows are named by their number, since a slice of an array is an object.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

#: numbers at once
WIDTH = 8
_VECTOR, _INT = ir.VectorType(ir.FloatType(), WIDTH), ir.IntType(32)
_NONE, _ZEROS = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_VECTOR, [0.0] * WIDTH)


class _Lanes(types.Type):
    """Eight float32."""

    def __init__(self) -> None:
        super().__init__(name="lanes")


_LANES = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Where the eight numbers are from which an intrinsic reads or to which it writes: (table, row, first column)."""
    table = context.make_array(signature.args[0])(context, builder, args[0])
    position = builder.add(builder.mul(args[1], builder.extract_value(table.shape, 1)), args[2])
    return builder.bitcast(builder.gep(table.data, [position]), _VECTOR.as_pointer())


def _load(_context: Any, table: Any, row: Any, column: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature, args), align=4)

    return (_LANES(table, types.intp, types.intp), generate) if table.layout == "C" else None


def _store(_context: Any, table: Any, row: Any, column: Any, numbers: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[3], _address(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return (types.void(table, types.intp, types.intp, _LANES), generate) if table.layout == "C" else None


def _spread(_context: Any, number: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        first = builder.insert_element(_NONE, args[0], _INT(0))
        return builder.shuffle_vector(first, _NONE, ir.Constant(ir.VectorType(_INT, WIDTH), [0] * WIDTH))

    return _LANES(types.float32), generate


def _total(_context: Any, numbers: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        part, size = args[0], WIDTH
        while size > 1:
            size //= 2
            halves = (ir.Constant(ir.VectorType(_INT, size), list(range(k, k + size))) for k in (0, size))
            part = builder.fadd(*(builder.shuffle_vector(part, part, half) for half in halves))
        return builder.extract_element(part, _INT(0))

    return types.float32(_LANES), generate


#: ``load(table, row, column)``: eight numbers of a row of a float32 table in C order, which has to have them
load: Any = intrinsic(_load)
#: ``store(table, row, column, numbers)`` puts them where ``load`` reads them
store: Any = intrinsic(_store)
#: ``spread(number)``: eight times the same
spread: Any = intrinsic(_spread)
#: ``total(numbers)``: their sum, by adding halves until one is left
total: Any = intrinsic(_total)


def _made_of(arity: int, instruction: Callable[..., Any]) -> Any:
    """An intrinsic of one or two times eight numbers."""
    kind = _LANES(*[_LANES] * arity), lambda _context, builder, _signature, args: instruction(builder, *args)

    def one(_context: Any, _x: Any) -> Any:
        return kind

    def two(_context: Any, _x: Any, _y: Any) -> Any:
        return kind

    return intrinsic(one if arity == 1 else two)


def _signed(builder: Any, number: Any, direction: Any, otherwise: Any = _ZEROS) -> Any:
    is_above, is_below = (builder.fcmp_ordered(sign, direction, _ZEROS) for sign in "><")
    return builder.select(is_above, number, builder.select(is_below, builder.fsub(_ZEROS, number), otherwise))


def _size(builder: Any, number: Any) -> Any:
    return _signed(builder, number, number, number)  # which keeps NaN


def along(number: Any, direction: Any) -> Any:
    """A float32, or eight, with the signs of a direction: as they are, negative, or 0 where that is 0 or NaN."""
    zero = np.float32(0.0)
    return number if direction > zero else (-number if direction < zero else zero)


def _teach(function: Callable[..., Any], instruction: Callable[..., Any], otherwise: Any = None) -> None:
    """Have compiled code know a function of two times eight numbers; ``otherwise``: what it is of single ones."""
    eight = _made_of(2, instruction)

    def choose(number: Any, direction: Any) -> Any:
        def way(number: Any, direction: Any) -> Any:
            return eight(number, direction)

        return way if isinstance(number, _Lanes) and isinstance(direction, _Lanes) else otherwise

    overload(function)(choose)


_teach(operator.add, ir.IRBuilder.fadd)
_teach(operator.sub, ir.IRBuilder.fsub)
_teach(operator.mul, ir.IRBuilder.fmul)
_teach(along, _signed, along)
_eight_sizes = _made_of(1, _size)


@overload(abs)
def _of_abs(x: Any) -> Any:
    def way(x: Any) -> Any:
        return _eight_sizes(x)

    return way if isinstance(x, _Lanes) else None
