"""Pairings in plain Python, some 40 ms each call: the subgroup test of G2 is exact, since p, 6u² and r tie on this curve.

Fp12 is Fp[w] / (w¹² - 18 w⁶ + 82), twelve integers; w⁶ = 9 + i gives Fp2, and (x w², y w³) takes the twist to the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul
from typing import Final

from .curves import BN128, Point, combine

__all__ = ["TWIST_B", "Plain", "Point2"]

_Fp2 = tuple[int, int]
_Affine2 = tuple[_Fp2, _Fp2]
#: Affine coordinates on the twist, each as real and imaginary part, or None for infinity.
Point2 = _Affine2 | None
_Fp12 = list[int]

_P: Final = BN128.p
_U: Final = 4965661367192848881
_ONE: Final[_Fp12] = [1, *[0] * 11]
#: (p⁴ - p² + 1) / r, the part of the final exponent that no Frobenius map does.
_HARD: Final = (_P**4 - _P**2 + 1) // BN128.order
#: w to the power p² - 1, a number since the norm of 9 + i is 82.
_FROBENIUS: Final = pow(82, (_P - 1) // 6, _P)


def _times2(a: _Fp2, b: _Fp2) -> _Fp2:
    """Product in Fp2."""
    return (a[0] * b[0] - a[1] * b[1]) % _P, (a[0] * b[1] + a[1] * b[0]) % _P


def _minus2(a: _Fp2, b: _Fp2) -> _Fp2:
    """Difference in Fp2."""
    return (a[0] - b[0]) % _P, (a[1] - b[1]) % _P


def _inverse2(a: _Fp2) -> _Fp2:
    """Inverse in Fp2."""
    norm = pow(a[0] * a[0] + a[1] * a[1], -1, _P)
    return a[0] * norm % _P, -a[1] * norm % _P


def _power2(a: _Fp2, exponent: int) -> _Fp2:
    """Power in Fp2."""
    result = (1, 0)
    for bit in bin(exponent)[2:]:
        result = _times2(result, result)
        if bit == "1":
            result = _times2(result, a)
    return result


#: 3 / (9 + i), of the twist's equation; and what the Frobenius map multiplies x and y by there.
TWIST_B: Final = _times2((3, 0), _inverse2((9, 1)))
_PSI_X: Final = _power2((9, 1), (_P - 1) // 3)
_PSI_Y: Final = _power2((9, 1), (_P - 1) // 2)


def _slope(one: _Affine2, other: _Affine2) -> _Fp2 | None:
    """Slope of the line through two points, of the tangent if they are one; None if it is vertical."""
    (x1, y1), (x2, y2) = one, other
    if x1 != x2:
        return _times2(_minus2(y2, y1), _inverse2(_minus2(x2, x1)))
    if y1 != y2 or y1 == (0, 0):
        return None
    square = _times2(x1, x1)
    return _times2((3 * square[0], 3 * square[1]), _inverse2((2 * y1[0], 2 * y1[1])))


def _third(one: _Affine2, other: _Affine2, slope: _Fp2) -> _Affine2:
    """Sum of two points, from the slope of their line."""
    x = _minus2(_minus2(_times2(slope, slope), one[0]), other[0])
    return x, _minus2(_times2(slope, _minus2(one[0], x)), one[1])


def _add2(one: Point2, other: Point2) -> Point2:
    """Sum of any two points of the twist."""
    if one is None or other is None:
        return other if one is None else one
    slope = _slope(one, other)
    return None if slope is None else _third(one, other, slope)


def _psi(point: _Affine2) -> _Affine2:
    """The Frobenius map of the curve, seen on the twist."""
    (x, xi), (y, yi) = point
    return _times2((x, -xi), _PSI_X), _times2((y, -yi), _PSI_Y)


def _times12(f: _Fp12, g: _Fp12) -> _Fp12:
    """Product in Fp12."""
    back = g[::-1]
    wide = [sum(map(mul, f[: k + 1], back[11 - k :])) for k in range(12)]
    wide += [sum(map(mul, f[k:], back)) for k in range(1, 12)]
    for k in range(22, 11, -1):
        wide[k - 6] += 18 * wide[k]
        wide[k - 12] -= 82 * wide[k]
    return [value % _P for value in wide[:12]]


def _line(point: tuple[int, int], at: _Affine2, slope: _Fp2) -> _Fp12:
    """Value at a point (x, y) of G1 of the line through `at` = (x', y') on the twist: y - slope x w + (slope x' - y') w³."""
    x, y = point
    value = [y, *[0] * 11]
    constant = _minus2(_times2(slope, at[0]), at[1])
    for place, (real, imaginary) in ((1, (-slope[0] * x, -slope[1] * x)), (3, constant)):
        value[place] = (real - 9 * imaginary) % _P
        value[place + 6] = imaginary % _P
    return value


def _step(f: _Fp12, point: tuple[int, int], at: _Affine2, towards: _Affine2) -> tuple[_Fp12, _Affine2]:
    """f times the line through two points, and their sum."""
    slope = _slope(at, towards)
    assert slope is not None, "a point of order r meets no vertical line before the end of Miller's loop"
    return _times12(f, _line(point, at, slope)), _third(at, towards, slope)


def _miller(point: tuple[int, int], point2: _Affine2) -> _Fp12:
    """Miller's loop of the optimal ate pairing, for points of order r."""
    f, at = _ONE, point2
    for bit in bin(6 * _U + 2)[3:]:
        f, at = _step(_times12(f, f), point, at, at)
        if bit == "1":
            f, at = _step(f, point, at, point2)
    once = _psi(point2)
    x, y = _psi(once)
    f, at = _step(f, point, at, once)
    return _step(f, point, at, (x, _minus2((0, 0), y)))[0]


class Plain:
    """The groups in plain Python."""

    def add(self, one: Point, other: Point) -> Point:
        """Sum in G1."""
        return combine(BN128, [(1, one), (1, other)])

    def multiply(self, point: Point, factor: int) -> Point:
        """Multiple in G1."""
        return combine(BN128, [(factor, point)])

    def in_group_2(self, point: Point2) -> bool:
        """Whether the point is on the twist and of order r.

        The Frobenius map ψ solves ψ² - tψ + p = 0, with r = p + 1 - t and t - 1 = 6u². If ψ(Q) = (t - 1) Q, then
        0 = ((t - 1)² - t (t - 1) + p) Q = r Q; and in G2 ψ multiplies by p, which is t - 1 modulo r.
        """
        if point is None:
            return True
        x, y = point
        if _minus2(_times2(y, y), _times2(_times2(x, x), x)) != TWIST_B:
            return False
        total: Point2 = None
        for bit in bin(6 * _U**2)[2:]:
            total = _add2(total, total)
            if bit == "1":
                total = _add2(total, point)
        return total == _psi(point)

    def pairing_is_one(self, pairs: Sequence[tuple[Point, Point2]]) -> bool:
        """Whether the product of pairings is 1: the final power of f is g^(p⁶ - 1), and conjugation is the power p⁶."""
        f = _ONE
        for point, point2 in pairs:
            if point is not None and point2 is not None:
                f = _times12(f, _miller(point, point2))
        f = _times12(f, [value * pow(_FROBENIUS, k, _P) % _P for k, value in enumerate(f)])
        powers = [_ONE]
        for _ in range(15):
            powers.append(_times12(powers[-1], f))
        g = _ONE
        for digit in f"{_HARD:x}":
            for _ in range(4):
                g = _times12(g, g)
            g = _times12(g, powers[int(digit, 16)])
        return not any(g[1::2])
