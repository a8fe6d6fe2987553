"""Additions take any point of the curve, multiples and pairings only those of the subgroup: EIP-2537 asks for no more.

A coordinate is 64 bytes big-endian, of which the first 16 are zero; of an element of Fp2 the real part comes first, unlike in
bn128; infinity is all zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from ...errors import ExecutionError

__all__ = [
    "backend", "g1_add", "g1_msm", "g1_msm_gas", "g2_add", "g2_msm", "g2_msm_gas", "map_to_g1", "map_to_g2", "pairing",
]  # fmt: skip

_G1_SIZE: Final = 128
_G2_SIZE: Final = 256
#: Thousandths of the full price for each of k multiples, at k - 1; the last holds for more.
_G1_DISCOUNTS: Final = (
    1000, 949, 848, 797, 764, 750, 738, 728, 719, 712, 705, 698, 692, 687, 682, 677, 673, 669, 665, 661, 658, 654, 651, 648,
    645, 642, 640, 637, 635, 632, 630, 627, 625, 623, 621, 619, 617, 615, 613, 611, 609, 608, 606, 604, 603, 601, 599, 598,
    596, 595, 593, 592, 591, 589, 588, 586, 585, 584, 582, 581, 580, 579, 577, 576, 575, 574, 573, 572, 570, 569, 568, 567,
    566, 565, 564, 563, 562, 561, 560, 559, 558, 557, 556, 555, 554, 553, 552, 551, 550, 549, 548, 547, 547, 546, 545, 544,
    543, 542, 541, 540, 540, 539, 538, 537, 536, 536, 535, 534, 533, 532, 532, 531, 530, 529, 528, 528, 527, 526, 525, 525,
    524, 523, 522, 522, 521, 520, 520, 519,
)  # fmt: skip
_G2_DISCOUNTS: Final = (
    1000, 1000, 923, 884, 855, 832, 812, 796, 782, 770, 759, 749, 740, 732, 724, 717, 711, 704, 699, 693, 688, 683, 679, 674,
    670, 666, 663, 659, 655, 652, 649, 646, 643, 640, 637, 634, 632, 629, 627, 624, 622, 620, 618, 615, 613, 611, 609, 607,
    606, 604, 602, 600, 598, 597, 595, 593, 592, 590, 589, 587, 586, 584, 583, 582, 580, 579, 578, 576, 575, 574, 573, 571,
    570, 569, 568, 567, 566, 565, 563, 562, 561, 560, 559, 558, 557, 556, 555, 554, 553, 552, 552, 551, 550, 549, 548, 547,
    546, 545, 545, 544, 543, 542, 541, 541, 540, 539, 538, 537, 537, 536, 535, 535, 534, 533, 532, 532, 531, 530, 530, 529,
    528, 528, 527, 526, 526, 525, 524, 524,
)  # fmt: skip


@cache
def backend() -> Any:
    """The module py_arkworks_bls12381, which has its own complaints about wrong bytes, all of them ValueError.

    Raises
    ------
    ExecutionError
        If it is not installed.

    Examples
    --------
    >>> backend().G1Point.identity().is_in_subgroup()
    True
    """
    try:
        import py_arkworks_bls12381
    except ImportError as cause:
        raise ExecutionError(
            'BLS12-381 (and KZG on it) needs the package py-arkworks-bls12381: pip install "pevm-numba[evm]"'
        ) from cause
    return py_arkworks_bls12381


def _packed(data: bytes) -> bytes:
    """Coordinates without the 16 bytes of zeros before each; ValueError if they are not zeros."""
    parts = [data[at : at + 64] for at in range(0, len(data), 64)]
    if any(any(part[:16]) for part in parts):
        raise ValueError("a coordinate is not below p")
    return b"".join(part[16:] for part in parts)


def _read(group: Any, data: bytes, *, member: bool) -> Any:
    """The point of these bytes, if `member` one of the subgroup; ValueError if there is none."""
    point = group.from_xy_bytes_unchecked_be(_packed(data))  # unchecked: on the curve, but of any order
    if member and not point.is_in_subgroup():
        raise ValueError("not in the subgroup")
    return point


def _written(point: Any) -> bytes:
    """The point's bytes."""
    packed: bytes = point.to_xy_bytes_be()
    return b"".join(bytes(16) + packed[at : at + 48] for at in range(0, len(packed), 48))


def _or_none(work: Callable[[], bytes]) -> bytes | None:
    """What the work returns, or None if some input is not what it has to be."""
    try:
        return work()
    except ValueError:
        return None


def _add(group: Any, data: bytes, size: int) -> bytes | None:
    """Sum of the two points in the data."""
    if len(data) != 2 * size:
        return None
    return _or_none(
        lambda: _written(_read(group, data[:size], member=False) + _read(group, data[size:], member=False))
    )


def _msm(group: Any, data: bytes, size: int) -> bytes | None:
    """Sum of multiples of the points in the data."""
    if not data or len(data) % (size + 32):
        return None
    starts = range(0, len(data), size + 32)
    modulo = backend().Scalar.from_be_bytes_mod_order

    def work() -> bytes:
        points = [_read(group, data[at : at + size], member=True) for at in starts]
        scalars = [modulo(data[at + size : at + size + 32]) for at in starts]
        return _written(group.multiexp_unchecked(points, scalars))

    return _or_none(work)


def _msm_gas(count: int, price: int, discounts: tuple[int, ...]) -> int:
    """Price of that many multiples."""
    return count * price * discounts[min(count, len(discounts)) - 1] // 1000 if count else 0


def g1_add(data: bytes) -> bytes | None:
    """Sum of two points of G1's curve.

    Parameters
    ----------
    data : bytes
        256 bytes, 128 for each point.

    Returns
    -------
    bytes or None
        128 bytes; None if the input is not that.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g1_add(bytes(256)) == bytes(128), g1_add(bytes(255)), g1_add(bytes(255) + b"\\1")
    (True, None, None)
    """
    return _add(backend().G1Point, data, _G1_SIZE)


def g2_add(data: bytes) -> bytes | None:
    """Sum of two points of G2's curve.

    Parameters
    ----------
    data : bytes
        512 bytes, 256 for each point.

    Returns
    -------
    bytes or None
        256 bytes; None if the input is not that.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g2_add(bytes(512)) == bytes(256), g2_add(b"")
    (True, None)
    """
    return _add(backend().G2Point, data, _G2_SIZE)


def g1_msm_gas(data: bytes) -> int:
    """Price of `g1_msm`: the more pairs the less for each, to 128 of them.

    Parameters
    ----------
    data : bytes
        The input of `g1_msm`.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g1_msm_gas(bytes(160)), g1_msm_gas(bytes(320)), g1_msm_gas(b"")
    (12000, 22776, 0)
    """
    return _msm_gas(len(data) // (_G1_SIZE + 32), 12_000, _G1_DISCOUNTS)


def g2_msm_gas(data: bytes) -> int:
    """Price of `g2_msm`: the more pairs the less for each, to 128 of them.

    Parameters
    ----------
    data : bytes
        The input of `g2_msm`.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g2_msm_gas(bytes(288)), g2_msm_gas(bytes(3 * 288))
    (22500, 62302)
    """
    return _msm_gas(len(data) // (_G2_SIZE + 32), 22_500, _G2_DISCOUNTS)


def g1_msm(data: bytes) -> bytes | None:
    """Sum of multiples of points of G1: input pairs of a point (128 bytes) and a factor (32), one at least.

    Parameters
    ----------
    data : bytes
        A multiple of 160.

    Returns
    -------
    bytes or None
        128 bytes; None if the input is not that, or a point not in the subgroup.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g1_msm(bytes(160)) == bytes(128), g1_msm(b"")
    (True, None)
    """
    return _msm(backend().G1Point, data, _G1_SIZE)


def g2_msm(data: bytes) -> bytes | None:
    """Sum of multiples of points of G2: input pairs of a point (256 bytes) and a factor (32), one at least.

    Parameters
    ----------
    data : bytes
        A multiple of 288.

    Returns
    -------
    bytes or None
        256 bytes; None if the input is not that, or a point not in the subgroup.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> g2_msm(bytes(288)) == bytes(256), g2_msm(bytes(287))
    (True, None)
    """
    return _msm(backend().G2Point, data, _G2_SIZE)


def pairing(data: bytes) -> bytes | None:
    """Whether the product of pairings is 1: input pairs of a point of G1 (128 bytes) and one of G2 (256), one at least.

    Parameters
    ----------
    data : bytes
        A multiple of 384.

    Returns
    -------
    bytes or None
        1 or 0 in 32 bytes; None if the input is not that, or a point not in its subgroup.

    References
    ----------
    EIP-2537.

    Examples
    --------
    >>> pairing(bytes(384)).hex()[-2:], pairing(b"")
    ('01', None)
    """
    if not data or len(data) % 384:
        return None
    ark = backend()

    def work() -> bytes:
        points, points2 = [], []
        for at in range(0, len(data), 384):
            points.append(_read(ark.G1Point, data[at : at + 128], member=True))
            points2.append(_read(ark.G2Point, data[at + 128 : at + 384], member=True))
        return int(ark.GT.pairing_check(points, points2)).to_bytes(32, "big")

    return _or_none(work)


def map_to_g1(data: bytes) -> bytes | None:
    """A point of G1 for an element of Fp, as hashing to the curve maps it, cofactor cleared.

    Parameters
    ----------
    data : bytes
        64 bytes.

    Returns
    -------
    bytes or None
        128 bytes; None if the input is not an element of Fp.

    References
    ----------
    EIP-2537; RFC 9380, section 6.6.3.

    Examples
    --------
    >>> len(map_to_g1(bytes(64))), map_to_g1(b"\\1" + bytes(63))
    (128, None)
    """
    if len(data) != 64:
        return None
    return _or_none(lambda: _written(backend().G1Point.map_from_fp_be(_packed(data))))


def map_to_g2(data: bytes) -> bytes | None:
    """A point of G2 for an element of Fp2, as hashing to the curve maps it, cofactor cleared.

    Parameters
    ----------
    data : bytes
        128 bytes.

    Returns
    -------
    bytes or None
        256 bytes; None if the input is not an element of Fp2.

    References
    ----------
    EIP-2537; RFC 9380, section 6.6.3.

    Examples
    --------
    >>> len(map_to_g2(bytes(128))), map_to_g2(bytes(127))
    (256, None)
    """
    if len(data) != 128:
        return None
    return _or_none(lambda: _written(backend().G2Point.map_from_fp2_be(_packed(data))))
