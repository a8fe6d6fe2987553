"""Precompiles against py-evm's on good, truncated and malformed input, and laws for what py-evm does not have."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable

import pytest

from pevm_numba.evm.forks import Fork
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.precompiles import call, precompiles, signatures
from pevm_numba.evm.precompiles.curves import P256, combine
from pevm_numba.evm.precompiles.native import natives
from pevm_numba.evm.transaction import Transaction

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    vms = pytest.importorskip("eth.vm.forks", reason="py-evm is not installed")
    from eth.exceptions import OutOfGas, VMError

PEERS = {
    Fork.FRONTIER: "FrontierVM", Fork.BYZANTIUM: "ByzantiumVM", Fork.ISTANBUL: "IstanbulVM", Fork.BERLIN: "BerlinVM",
    Fork.CANCUN: "CancunVM",
}  # fmt: skip


class Computation:
    """What a precompile of py-evm asks of a computation."""

    def __init__(self, data: bytes, gas: int) -> None:
        self.data_as_bytes, self.gas, self.used, self.output, self.msg = data, gas, 0, b"", self
        self.data = data
        self.logger = None

    def consume_gas(self, amount: int, reason: str = "") -> None:
        """Charge, or fail."""
        if amount > self.gas - self.used:
            raise OutOfGas(reason)
        self.used += amount


def peer(fork: Fork, address: int, data: bytes, gas: int) -> tuple[bool, int, bytes]:
    """The same call on py-evm."""
    table = getattr(vms, PEERS[fork]).get_state_class().computation_class._precompiles
    computation = Computation(data, gas)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table[address.to_bytes(20, "big")](computation)
    except VMError:
        return False, gas, b""
    return True, computation.used, computation.output


def inputs(address: int, rng: random.Random) -> list[bytes]:
    """Input that means something to a precompile, and much that does not."""
    word = [0, 1, 2, 27, 28, 2**128, 2**256 - 1, rng.getrandbits(256)]
    some = [rng.randbytes(rng.randrange(0, 400)) for _ in range(4)] + [b"", bytes(31), bytes(64), bytes(128), bytes(192)]
    words = [b"".join(rng.choice(word).to_bytes(32, "big") for _ in range(rng.randrange(1, 8))) for _ in range(6)]
    if address == 1:
        from eth_keys import keys

        key, digest = keys.PrivateKey(rng.randbytes(32)), rng.randbytes(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            v, r, s = key.sign_msg_hash(digest).vrs
        good = digest + (27 + v).to_bytes(32, "big") + r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return [good, good[:127], good + b"x", good[:63] + b"\x1d" + good[64:], *some, *words]
    if address == 5:
        made = []
        for _ in range(12):
            sizes = [rng.choice([0, 1, 2, 31, 32, 33, 40, 65]) for _ in range(3)]
            head = b"".join(size.to_bytes(32, "big") for size in sizes)
            made.append(head + rng.randbytes(sum(sizes) - rng.choice([0, 0, 0, min(5, sum(sizes))])))
        one, whole = (1).to_bytes(32, "big"), (32).to_bytes(32, "big")
        for modulus in (0, 1, 2, 2**64, 2**255, 2**256 - 189, 2**256 - 1):  # of 32 bytes each
            few = rng.choice([0, 1, 2, 3, 2**256 - 1])
            numbers = (rng.getrandbits(256), few, modulus), (modulus, rng.getrandbits(256), modulus), (few, few, modulus)
            made += [whole * 3 + b"".join(number.to_bytes(32, "big") for number in three) for three in numbers]
        made += [one * 3 + bytes([a, b, c]) for a, b, c in ((0, 0, 0), (0, 0, 5), (255, 255, 254), (7, 0, 1))]
        return [*made, (2**256 - 1).to_bytes(32, "big") * 3, bytes(96), b""]
    if address in (6, 7, 8):
        one, two = (1).to_bytes(32, "big"), (2).to_bytes(32, "big")
        scalar = rng.getrandbits(256).to_bytes(32, "big")
        return [one + two + one + two, one + two + scalar, one + one + scalar, one + two, *some[4:], *words[:2]]
    if address == 9:
        sizes = (0, 1, 9, 10, 12, 23)
        made = [rounds.to_bytes(4, "big") + rng.randbytes(208) + bytes([last]) for rounds in sizes for last in (0, 1, 2)]
        return [*made, made[0][:-1], made[1] + b"\0", b""]
    return some + words


@pytest.mark.parametrize("fork", PEERS, ids=lambda fork: fork.name.lower())
def test_success_gas_and_output_are_those_of_py_evm(fork: Fork) -> None:
    rng = random.Random(int(fork))
    compared = 0
    for address in precompiles(fork):
        for data in inputs(address, rng):
            expected = peer(fork, address, data, 10**7)
            assert call(fork, address, data, 10**7) == expected, (address, data.hex())
            if expected[0]:
                assert call(fork, address, data, expected[1])[0]
                assert call(fork, address, data, expected[1] - 1) == (False, expected[1] - 1, b"")
            compared += 1
    assert compared >= 15 * len(precompiles(fork)) // 2


#: Calls a precompile: gas, address and input are its call data; returns whether it succeeded, and what it returned.
FORWARD = "6040360380604060003760006000826000602035600035fa6000523d600060203e3d6020016000f3"


def runner(fork: Fork, natively: bool) -> Callable[[int, bytes, int], tuple[bool, bytes]]:
    """Calls of precompiles from bytecode."""
    known = {} if fork < Fork.LONDON else {"base_fee": 0}
    known |= {} if fork < Fork.CANCUN else {"excess_blob_gas": 0}
    who, code = b"\x11" * 20, b"\x22" * 20
    state = {who: (10**30, 0, b"", {}), code: (0, 1, bytes.fromhex(FORWARD), {})}
    machine, nonces = Evm(BlockEnv(number=1, timestamp=1, fork=fork, gas_limit=10**9, **known), state), itertools.count()
    for name in ("secp256k1", "sha256", "ripemd160", "fp_read"):
        assert machine.arena[name] != 0
        if not natively:
            machine.arena[name] = 0

    def run(address: int, data: bytes, gas: int) -> tuple[bool, bytes]:
        given = gas.to_bytes(32, "big") + address.to_bytes(32, "big") + data
        most = 10**8 if fork < Fork.OSAKA else 2**24
        tx = Transaction(gas_price=0, gas_limit=most, to=code, data=given, sender=who, nonce=next(nonces))
        output = machine.run(tx).output
        return bool(output[31]), output[32:]

    return run


@pytest.mark.parametrize("natively", [True, False], ids=["natively", "by the host"])
@pytest.mark.parametrize(
    "fork", [Fork.BYZANTIUM, Fork.ISTANBUL, Fork.CANCUN, Fork.OSAKA], ids=lambda fork: fork.name.lower()
)
def test_bytecode_gets_the_same(fork: Fork, natively: bool) -> None:
    run, rng = runner(fork, natively), random.Random(7 + int(fork))
    assert natively is False or all(natives().values()), "a library is missing"
    for address in range(1, 9 if fork < Fork.ISTANBUL else 10):
        for data in [*inputs(address, rng), *(curve_inputs(rng) if address in (6, 7, 8) else [])]:
            ok, price, output = call(fork, address, data, 10**7)
            assert run(address, data, 10**7) == (ok, output), (address, data.hex())
            if ok:
                assert run(address, data, price) == (ok, output)
                assert price == 0 or run(address, data, price - 1) == (False, b"")


def stray_points(rng: random.Random) -> list[bytes]:
    """Points of alt_bn128's twist, nearly none of which are in its group: x + y i, with y*y = x*x*x + 3 / (9 + i)."""
    p = 21888242871839275222246405745257275088696311157297823662689037894645226208583

    def times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return (a[0] * b[0] - a[1] * b[1]) % p, (a[0] * b[1] + a[1] * b[0]) % p

    def root(a: tuple[int, int]) -> tuple[int, int] | None:
        norm = pow(a[0] ** 2 + a[1] ** 2, (p + 1) // 4, p)
        for sign in (norm, -norm):
            real = pow((a[0] + sign) * pow(2, -1, p), (p + 1) // 4, p)
            found = (real, a[1] * pow(2 * real, -1, p) % p) if real else (0, 0)
            if times(found, found) == a:
                return found
        return None

    over = pow(9 * 9 + 1, -1, p)
    made: list[bytes] = []
    while len(made) < 3:
        x = rng.randrange(p), rng.randrange(p)
        cube = times(times(x, x), x)
        y = root(((cube[0] + 27 * over) % p, (cube[1] - 3 * over) % p))
        if y is not None:
            made.append(b"".join(value.to_bytes(32, "big") for value in (x[1], x[0], y[1], y[0])))
    return made


def curve_inputs(rng: random.Random) -> list[bytes]:
    """Points of alt_bn128, pairs of them, and what is nearly one."""
    p = 21888242871839275222246405745257275088696311157297823662689037894645226208583
    generator = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
    points = [call(Fork.ISTANBUL, 7, generator + rng.randbytes(32), 10**4)[2] for _ in range(3)]
    x, y = points[0][:32], int.from_bytes(points[0][32:], "big")
    minus, high = x + (p - y).to_bytes(32, "big"), x + (p + y).to_bytes(32, "big")
    two = b"".join(value.to_bytes(32, "big") for value in (
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
    ))  # fmt: skip
    strange = stray_points(rng)  # on the twist, but of another order
    pairs = [one + two for one in (*points, minus, bytes(64))] + [points[1] + bytes(128)]
    made = [points[0] + points[1], points[0] + minus, points[0] + points[0], high + points[1], points[0] + bytes(64)]
    made += [points[1] + rng.randbytes(32), minus + (2**256 - 1).to_bytes(32, "big"), points[2] + b"\x05"]
    made += [one + two for one in (points[0], bytes(64)) for two in strange]
    for count in (1, 2, 7, 8, 9, 17):
        chosen = [rng.choice(pairs) for _ in range(count)]
        made += [b"".join(chosen), b"".join([*chosen, points[0] + two, minus + two])]
        made.append(b"".join([*chosen, high + two]))
        made.append(b"".join([*chosen, points[0] + two[32:] + two[:32]]))
    return [*made, points[0] + two[:-1], bytes(192 * 9)]


def test_a_point_of_the_twist_that_is_not_in_the_group_is_refused() -> None:
    generator = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
    run = runner(Fork.CANCUN, True)
    for point in stray_points(random.Random(5)):
        assert call(Fork.CANCUN, 8, generator + point, 10**6) == (False, 10**6, b"")
        assert run(8, generator + point, 10**6) == (False, b"")


def test_a_pairing_of_inverse_points_is_one_and_of_equal_points_is_not() -> None:
    p = 21888242871839275222246405745257275088696311157297823662689037894645226208583
    g1 = (1, 2)
    g2 = (
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
    )
    point = [value.to_bytes(32, "big") for value in (*g1, *g2)]
    minus = [point[0], (p - 2).to_bytes(32, "big"), *point[2:]]
    one = (1).to_bytes(32, "big")
    assert call(Fork.ISTANBUL, 8, b"".join(point + minus), 10**6) == (True, 45_000 + 2 * 34_000, one)
    assert call(Fork.ISTANBUL, 8, b"".join(point + point), 10**6) == (True, 45_000 + 2 * 34_000, bytes(32))


def test_bls12_addition_and_multiplication_agree_and_the_pairing_is_bilinear() -> None:
    py_ecc = pytest.importorskip("py_ecc.optimized_bls12_381", reason="py_ecc is not installed")

    def g1(k: int) -> bytes:
        return b"".join(int(c).to_bytes(64, "big") for c in py_ecc.normalize(py_ecc.multiply(py_ecc.G1, k)))

    def g2(k: int) -> bytes:
        x, y = py_ecc.normalize(py_ecc.multiply(py_ecc.G2, k))
        return b"".join(int(c).to_bytes(64, "big") for c in (*x.coeffs, *y.coeffs))

    def scalar(k: int) -> bytes:
        return k.to_bytes(32, "big")

    gas = 10**7
    assert call(Fork.PRAGUE, 0x0B, g1(3) + g1(4), gas) == (True, 375, g1(7))
    assert call(Fork.PRAGUE, 0x0D, g2(3) + g2(4), gas) == (True, 600, g2(7))
    assert call(Fork.PRAGUE, 0x0C, g1(1) + scalar(5) + g1(2) + scalar(6), gas)[2] == g1(17)
    assert call(Fork.PRAGUE, 0x0E, g2(1) + scalar(5) + g2(2) + scalar(6), gas)[2] == g2(17)
    order = py_ecc.curve_order
    assert call(Fork.PRAGUE, 0x0F, g1(6) + g2(1) + g1(order - 2) + g2(3), gas) == (True, 37_700 + 2 * 32_600, scalar(1))
    assert call(Fork.PRAGUE, 0x0F, g1(6) + g2(1) + g1(order - 2) + g2(4), gas)[2] == scalar(0)
    assert call(Fork.PRAGUE, 0x0B, g1(3)[:-1] + b"\x00" + g1(4), gas) == (False, gas, b"")
    assert call(Fork.PRAGUE, 0x0B, g1(3), gas) == (False, gas, b"")


def test_signatures_on_p256_are_what_plain_integers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, order = random.Random(3), P256.order
    made = []
    for _ in range(6):
        secret, nonce, digest = rng.randrange(1, order), rng.randrange(1, order), rng.randbytes(32)
        key, point = combine(P256, [(secret, P256.generator)]), combine(P256, [(nonce, P256.generator)])
        assert key is not None
        assert point is not None
        r = point[0] % order
        s = (int.from_bytes(digest, "big") + r * secret) * pow(nonce, -1, order) % order
        words = [value.to_bytes(32, "big") for value in (r, s, *key)]
        made += [digest + b"".join(words), digest[::-1] + b"".join(words)]
        made.append(digest + b"".join([words[1], words[0], *words[2:]]))
        made.append(digest + words[0] + (order - s).to_bytes(32, "big") + words[2] + words[3])
        made.append(digest + b"".join([*words[:3], words[2]]))
        made += [digest + order.to_bytes(32, "big") + b"".join(words[1:]), made[-1][:-1], bytes(160)]
    assert signatures._p256_library() is not None
    by_library = [call(Fork.OSAKA, 0x100, data, 10_000) for data in made]
    monkeypatch.setattr(signatures, "_p256_library", lambda: None)
    assert by_library == [call(Fork.OSAKA, 0x100, data, 10_000) for data in made]
    assert [bool(output) for _, _, output in by_library].count(True) == 12  # each signature, and it with the other s


def test_huge_lengths_of_modexp_are_refused_by_their_price_alone() -> None:
    data = (2**256 - 1).to_bytes(32, "big") * 3 + bytes(64)
    for fork in (Fork.BYZANTIUM, Fork.BERLIN, Fork.CANCUN, Fork.OSAKA):
        assert call(fork, 5, data, 2**40) == (False, 2**40, b"")


def test_kzg_accepts_a_constant_polynomial_and_refuses_another_value_hash_or_proof() -> None:
    import hashlib

    py_ecc = pytest.importorskip("py_ecc.bls.g2_primitives", reason="py_ecc is not installed")
    from py_ecc.optimized_bls12_381 import G1, multiply

    commitment = bytes(py_ecc.G1_to_pubkey(multiply(G1, 5)))
    versioned = b"\x01" + hashlib.sha256(commitment).digest()[1:]
    z, y, proof = (9).to_bytes(32, "big"), (5).to_bytes(32, "big"), bytes([0xC0]) + bytes(47)
    order = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
    good = call(Fork.CANCUN, 10, versioned + z + y + commitment + proof, 50_000)
    assert good == (True, 50_000, (4096).to_bytes(32, "big") + order.to_bytes(32, "big"))
    for wrong in (
        versioned + z + (6).to_bytes(32, "big") + commitment + proof,
        b"\x02" + versioned[1:] + z + y + commitment + proof,
        versioned + order.to_bytes(32, "big") + y + commitment + proof,
        versioned + z + y + commitment + commitment,
        versioned + z + y + commitment + proof + b"\x00",
    ):
        assert call(Fork.CANCUN, 10, wrong, 50_000) == (False, 50_000, b"")
