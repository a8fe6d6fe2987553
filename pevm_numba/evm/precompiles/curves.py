"""The point at infinity is None here, never (0, 0), which is how bn128 writes it and which lies on none of these curves.

Plain Python integers in Jacobian coordinates: some milliseconds a multiplication, not constant in time. It only ever sees
public data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["BN128", "P256", "SECP256K1", "Curve", "Point", "combine"]

#: Affine coordinates, or None for infinity.
Point = tuple[int, int] | None
_Jacobian = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Curve:
    """y² = x³ + ax + b over the integers modulo p, a group of prime order."""

    p: int
    a: int
    b: int
    order: int
    generator: tuple[int, int]

    def contains(self, x: int, y: int) -> bool:
        """Whether (x, y) solves the equation with both in [0, p)."""
        return max(x, y) < self.p and (y * y - (x * x + self.a) * x - self.b) % self.p == 0

    def lift(self, x: int, odd: int) -> Point:
        """The point with this x whose y has this parity, or None if no point has; p must be 3 modulo 4."""
        square = ((x * x + self.a) * x + self.b) % self.p
        y = pow(square, (self.p + 1) // 4, self.p)
        if x >= self.p or y * y % self.p != square:
            return None
        return x, y if y % 2 == odd else self.p - y


#: SEC 2, 2.4.1.
SECP256K1: Final = Curve(
    p=2**256 - 2**32 - 977,
    a=0,
    b=7,
    order=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    generator=(
        0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
        0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    ),
)

#: NIST SP 800-186, 3.2.1.3.
P256: Final = Curve(
    p=2**256 - 2**224 + 2**192 + 2**96 - 1,
    a=-3,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    order=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    generator=(
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
)

#: EIP-196, the group G1.
BN128: Final = Curve(
    p=21888242871839275222246405745257275088696311157297823662689037894645226208583,
    a=0,
    b=3,
    order=21888242871839275222246405745257275088548364400416034343698204186575808495617,
    generator=(1, 2),
)

_INFINITY: Final[_Jacobian] = (1, 1, 0)


def _double(curve: Curve, point: _Jacobian) -> _Jacobian:
    """Twice a point."""
    x, y, z = point
    p = curve.p
    square = y * y % p
    s = 4 * x * square % p
    m = 3 * x * x
    if curve.a:
        m += curve.a * pow(z, 4, p)
    x3 = (m * m - 2 * s) % p
    return x3, (m * (s - x3) - 8 * square * square) % p, 2 * y * z % p


def _add(curve: Curve, one: _Jacobian, other: _Jacobian) -> _Jacobian:
    """Sum of two points, equal, opposite or infinite ones included."""
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1 or not z2:
        return other if not z1 else one
    p = curve.p
    square1, square2 = z1 * z1 % p, z2 * z2 % p
    u1, u2 = x1 * square2 % p, x2 * square1 % p
    s1, s2 = y1 * square2 * z2 % p, y2 * square1 * z1 % p
    if u1 == u2:
        return _double(curve, one) if s1 == s2 else _INFINITY
    h, r = u2 - u1, s2 - s1
    h2 = h * h % p
    h3, v = h * h2 % p, u1 * h2 % p
    x3 = (r * r - h3 - 2 * v) % p
    return x3, (r * (v - x3) - s1 * h3) % p, z1 * z2 * h % p


def combine(curve: Curve, terms: Sequence[tuple[int, Point]]) -> Point:
    """Sum of multiples of a few points, all bits from the top down at once (Shamir's trick).

    Parameters
    ----------
    curve : Curve
        On which all points must lie.
    terms : sequence of (int, Point)
        Factor, of any size and sign, and point.

    Returns
    -------
    Point
        In affine coordinates, or None for infinity.

    References
    ----------
    SEC 1, section 2.2.1; Strauss, "Addition chains of vectors" (1964).

    Examples
    --------
    >>> combine(BN128, [(1, (1, 2)), (BN128.order - 1, (1, 2))]) is None
    True
    >>> combine(BN128, [(2, (1, 2)), (3, (1, 2))]) == combine(BN128, [(5, (1, 2))])
    True
    """
    live = [(factor % curve.order, (*point, 1)) for factor, point in terms if point is not None]
    sums = [_INFINITY]
    for _, point in live:
        sums += [_add(curve, point, partial) for partial in sums]
    total = _INFINITY
    for bit in range(max((factor.bit_length() for factor, _ in live), default=0) - 1, -1, -1):
        total = _double(curve, total)
        which = sum((factor >> bit & 1) << place for place, (factor, _) in enumerate(live))
        if which:
            total = _add(curve, total, sums[which])
    x, y, z = total
    if not z:
        return None
    inverse = pow(z, -1, curve.p)
    return x * inverse**2 % curve.p, y * inverse**3 % curve.p
