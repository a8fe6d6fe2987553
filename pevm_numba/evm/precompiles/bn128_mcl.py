"""mcl has one curve for the whole process: loading it here for Ethereum's takes it from other users of the package mclbn256.

That package starts with a curve of its own, called BN254 too. The numbers here are little-endian and, inside a point, in
Montgomery's form, so that only mcl reads or writes them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Final

from .bn128_plain import Point2
from .curves import BN128, Point

__all__ = ["FUNCTIONS", "Mcl", "library"]

#: mcl's number of the curve; and words of a coordinate + 10 times words of a factor, with which the library was compiled.
_CURVE: Final = 4
_COMPILED: Final = 44
#: Bytes of a coordinate; G1 has three, G2 six, the target group twelve.
_SIZE: Final = 32

#: C functions of use for the precompiles, and the types that they return.
FUNCTIONS: Final = {
    "mclBnFp_deserialize": ctypes.c_size_t,
    "mclBnFp_serialize": ctypes.c_size_t,
    "mclBnFp_mul": None,
    "mclBnFp_add": None,
    "mclBnFp_isEqual": ctypes.c_int,
    "mclBnFp2_mul": None,
    "mclBnFp2_add": None,
    "mclBnFp2_isEqual": ctypes.c_int,
    "mclBnFr_setLittleEndianMod": ctypes.c_int,
    "mclBnG1_isZero": ctypes.c_int,
    "mclBnG1_add": None,
    "mclBnG1_mul": None,
    "mclBnG1_normalize": None,
    "mclBnG2_isValid": ctypes.c_int,
    "mclBnG2_isValidOrder": ctypes.c_int,
    "mclBn_millerLoopVec": None,
    "mclBn_finalExp": None,
    "mclBnGT_mul": None,
    "mclBnGT_isOne": ctypes.c_int,
}


@cache
def library() -> ctypes.CDLL | None:
    """The shared library in the package mclbn256, set to Ethereum's curve; None if it is absent or has another build.

    References
    ----------
    herumi/mcl, include/mcl/bn.h.
    """
    try:
        from mclbn256 import mclbn256

        theirs: ctypes.CDLL = mclbn256.loaded_libraries["libmclbn256"]
        found = ctypes.CDLL(theirs._name, handle=theirs._handle)  # types set here are not set for them
        for name, returned in FUNCTIONS.items():
            getattr(found, name).restype = returned
        order = ctypes.create_string_buffer(100)
        if found.mclBn_init(_CURVE, _COMPILED) or not found.mclBn_getFieldOrder(order, ctypes.c_size_t(100)):
            return None
    except (ImportError, OSError, AttributeError, KeyError):
        return None
    return found if int(order.value) == BN128.p else None


class Mcl:
    """The groups by mcl: each call keeps its memory to itself and lets go of the interpreter's lock."""

    def __init__(self, found: ctypes.CDLL) -> None:
        self._mcl = found

    @classmethod
    def load(cls) -> Mcl | None:
        """One on the installed library, or None."""
        found = library()
        return None if found is None else cls(found)

    def _stored(self, *coordinates: int) -> bytes:
        """Coordinates as mcl keeps them; each is below p."""
        cell = ctypes.create_string_buffer(_SIZE)
        stored = []
        for value in coordinates:
            if self._mcl.mclBnFp_deserialize(cell, value.to_bytes(_SIZE, "little"), ctypes.c_size_t(_SIZE)) != _SIZE:
                raise ValueError("a coordinate is not below p")
            stored.append(cell.raw)
        return b"".join(stored)

    def _point(self, point: Point) -> bytes:
        """A point of G1 as mcl keeps it: x, y and z."""
        return bytes(3 * _SIZE) if point is None else self._stored(*point, 1)

    def _point2(self, point: Point2) -> bytes:
        """A point of G2 as mcl keeps it: x, y and z, each with its real part first."""
        return bytes(6 * _SIZE) if point is None else self._stored(*point[0], *point[1], 1, 0)

    def _affine(self, point: ctypes.Array[ctypes.c_char]) -> Point:
        """Coordinates of mcl's point of G1."""
        if self._mcl.mclBnG1_isZero(point):
            return None
        self._mcl.mclBnG1_normalize(point, point)
        cell, stored = ctypes.create_string_buffer(_SIZE), point.raw
        values = []
        for at in (0, _SIZE):
            self._mcl.mclBnFp_serialize(cell, ctypes.c_size_t(_SIZE), stored[at : at + _SIZE])
            values.append(int.from_bytes(cell.raw, "little"))
        return values[0], values[1]

    def add(self, one: Point, other: Point) -> Point:
        """Sum in G1."""
        total = ctypes.create_string_buffer(3 * _SIZE)
        self._mcl.mclBnG1_add(total, self._point(one), self._point(other))
        return self._affine(total)

    def multiply(self, point: Point, factor: int) -> Point:
        """Multiple in G1."""
        scalar, product = ctypes.create_string_buffer(_SIZE), ctypes.create_string_buffer(3 * _SIZE)
        self._mcl.mclBnFr_setLittleEndianMod(scalar, factor.to_bytes(_SIZE, "little"), ctypes.c_size_t(_SIZE))
        self._mcl.mclBnG1_mul(product, self._point(point), scalar)
        return self._affine(product)

    def in_group_2(self, point: Point2) -> bool:
        """Whether the point is on the twist and of order r."""
        stored = self._point2(point)
        return bool(self._mcl.mclBnG2_isValid(stored) and self._mcl.mclBnG2_isValidOrder(stored))

    def pairing_is_one(self, pairs: Sequence[tuple[Point, Point2]]) -> bool:
        """Whether the product of pairings is 1."""
        if not pairs:
            return True
        points = b"".join(self._point(point) for point, _ in pairs)
        points2 = b"".join(self._point2(point2) for _, point2 in pairs)
        value = ctypes.create_string_buffer(12 * _SIZE)
        self._mcl.mclBn_millerLoopVec(value, points, points2, ctypes.c_size_t(len(pairs)))
        self._mcl.mclBn_finalExp(value, value)
        return bool(self._mcl.mclBnGT_isOne(value))
