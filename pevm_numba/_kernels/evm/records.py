"""Records at addresses, with named fields: ``frame.gas -= 3`` in a kernel is one load and one store at a fixed offset.

A record is an address and nothing else, so it costs no more to hand on than a number. A field is a *number* (int64, read and
written by its name) or a *word* (32 bytes in place: its name gives its address, for the operations of `memory`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
)

from ..jit import DISABLED
from .memory import CHECKED, load, store
from .regions import check_function

__all__ = ["Layout", "address_of", "record"]

_I64 = ir.IntType(64)


@dataclass(frozen=True)
class Layout:
    """Where the fields of a kind of record are.

    Parameters
    ----------
    name : str
    numbers, words : dict of str to int
        Offset in bytes of each field; words come first, at multiples of 32.
    size : int
        In bytes, a multiple of 32.
    at : callable
        In kernels: the record at an address.
    """

    name: str
    numbers: dict[str, int]
    words: dict[str, int]
    size: int
    at: Callable


class _Record(types.Type):
    """Numba type of the records of one layout; the name decides equality."""

    def __init__(self, name: str, numbers: dict[str, int], words: dict[str, int]) -> None:
        self.numbers, self.words = numbers, words
        fields = ",".join(f"{field}@{place}" for field, place in (words | numbers).items())
        super().__init__(name=f"Record({name}: {fields})")


@register_model(_Record)
class _RecordModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _I64)


@infer_getattr
class _RecordFields(AttributeTemplate):
    key = _Record

    def generic_resolve(self, kind, field):
        return types.int64 if field in kind.numbers or field in kind.words else None


def _place(context, builder, value, offset):
    address = builder.add(value, ir.Constant(_I64, offset))
    if CHECKED:
        address = builder.call(check_function(builder.module), [address, ir.Constant(_I64, 8)])
    return builder.inttoptr(address, _I64.as_pointer())


@lower_getattr_generic(_Record)
def _get_field(context, builder, kind, value, field):
    if field in kind.words:
        return builder.add(value, ir.Constant(_I64, kind.words[field]))
    return builder.load(_place(context, builder, value, kind.numbers[field]))


@lower_setattr_generic(_Record)
def _set_field(context, builder, signature, args, field):
    target, value = args
    kind = signature.args[0]
    value = context.cast(builder, value, signature.args[1], types.int64)
    builder.store(value, _place(context, builder, target, kind.numbers[field]))


class _PlainRecord:
    """A record in plain Python."""

    __slots__ = ("_address", "_layout")

    def __init__(self, layout, address):
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_address", int(address))

    def __getattr__(self, field):
        numbers, words = self._layout
        if field in words:
            return self._address + words[field]
        if field not in numbers:
            raise AttributeError(field)
        return load(self._address + numbers[field])

    def __setattr__(self, field, value):
        store(self._address + self._layout[0][field], value)


def record(name: str, numbers: str, words: str = "") -> Layout:
    """A kind of record, from the names of its numbers and of its words, separated by blanks.

    Raises
    ------
    ValueError
        If a name comes twice.
    """
    word_names, number_names = words.split(), numbers.split()
    if len({*word_names, *number_names}) < len(word_names) + len(number_names):
        raise ValueError(f"record {name}: a field comes twice")
    word_places = {field: 32 * i for i, field in enumerate(word_names)}
    number_places = {field: 32 * len(word_names) + 8 * i for i, field in enumerate(number_names)}
    size = -(-(32 * len(word_names) + 8 * len(number_names)) // 32) * 32
    if DISABLED:
        both = (number_places, word_places)
        return Layout(name, number_places, word_places, size, lambda address: _PlainRecord(both, address))
    kind = _Record(name, number_places, word_places)

    @intrinsic
    def at(typingctx, address):
        def codegen(context, builder, signature, args):
            return args[0]

        return kind(types.int64), codegen

    return Layout(name, number_places, word_places, size, at)


if DISABLED:

    def address_of(item):
        """The address of a record."""
        return item._address

else:

    @intrinsic
    def address_of(typingctx, item):
        """The address of a record."""
        if not isinstance(item, _Record):
            return None

        def codegen(context, builder, signature, args):
            return args[0]

        return types.int64(item), codegen

