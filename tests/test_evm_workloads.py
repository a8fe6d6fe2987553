"""Made-up blocks of real transactions do what a plain model of their contracts does, on every executor and on revm."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from evm_peers import FORKS, Account, Case, missing, run_pyrevm
from hypothesis import given, settings
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.asking import ask_layouts
from pevm_numba.access.pattern_library import built_in_patterns
from pevm_numba.access.patterns import FACTORIES
from pevm_numba.access.prediction import learn_block, predicted_storage, touched_storage
from pevm_numba.access.quality import storage_quality
from pevm_numba.errors import BlockError
from pevm_numba.evm.assembly import assemble
from pevm_numba.evm.contracts import FACTORY, PAIR_CODE_HASH, ROUTER, SELECTORS, call_data, erc20, erc721
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.market import Collection, Contracts, Token, zipf_sums
from pevm_numba.evm.transaction import Transaction
from pevm_numba.evm.workloads import MIXES, RECIPIENTS
from pevm_numba.workload import zipf_weights

N = 6 if DISABLED else 120
few = settings(max_examples=2 if DISABLED else 25, deadline=None)
mixes = pytest.mark.parametrize("mix", MIXES)
LOW, SECOND = 2**112 - 1, 2**112


# -------------------------------------------------------------------- a model


def entry(slot: int, *keys: int) -> int:
    for key in keys:
        slot = int.from_bytes(keccak(key.to_bytes(32, "big") + slot.to_bytes(32, "big")), "big")
    return slot


class Storage:
    """Storage of all contracts; which of it was touched."""

    def __init__(self, state: Any) -> None:
        self.values = {(where, slot): value for where, one in state.items() for slot, value in one.storage.items()}
        self.touched: set[tuple[bytes, int]] = set()

    def __getitem__(self, key: tuple[bytes, int]) -> int:
        self.touched.add(key)
        return self.values.get(key, 0)

    def __setitem__(self, key: tuple[bytes, int], value: int) -> None:
        self.touched.add(key)
        assert 0 <= value < 2**256
        self.values[key] = value

    def add(self, where: bytes, slot: int, amount: int) -> None:
        self[where, slot] = self[where, slot] + amount


class Model:
    """What the contracts are to do, in plain Python."""

    def __init__(self, block: pn.EvmBlock, contracts: Contracts) -> None:
        self.block, self.storage = block, Storage(block.state)
        self.places: dict[bytes, Any] = {one.address: one for one in (*contracts.tokens, *contracts.collections)}
        self.pools = {one.address: one for one in contracts.pools}
        self.holders: dict[bytes, set[int]] = {one.address: set() for one in contracts.tokens}
        self.done: Counter[str] = Counter()

    def run(self) -> list[set[tuple[bytes, int]]]:
        """The storage that each transaction touches."""
        names = {selector: signature.partition("(")[0] for signature, selector in SELECTORS.items()}
        found = []
        for tx in self.block.transactions:
            self.storage.touched = set()
            if tx.data:
                name = names[int.from_bytes(tx.data[:4], "big")]
                words = [int.from_bytes(tx.data[at : at + 32], "big") for at in range(4, len(tx.data), 32)]
                place = self.places.get(tx.to or b"")
                kind = "" if place is None else type(place).__name__.lower() + "_"
                self.done[kind + name] += 1
                getattr(self, kind + name)(*(() if place is None else (place,)), int.from_bytes(tx.sender, "big"), *words)
            found.append(self.storage.touched)
        return found

    def move(self, token: Token, one: int, other: int, amount: int) -> None:
        assert self.storage[token.address, entry(token.balances, one)] >= amount
        self.storage.add(token.address, entry(token.balances, one), -amount)
        self.storage.add(token.address, entry(token.balances, other), amount)
        self.holders[token.address] |= {one, other}

    def token_transfer(self, token: Token, sender: int, to: int, amount: int) -> None:
        self.move(token, sender, to, amount)

    def token_transferFrom(self, token: Token, sender: int, owner: int, to: int, amount: int) -> None:
        self.storage.add(token.address, entry(token.allowances, owner, sender), -amount)
        self.move(token, owner, to, amount)

    def token_approve(self, token: Token, sender: int, spender: int, amount: int) -> None:
        self.storage[token.address, entry(token.allowances, sender, spender)] = amount

    def token_mint(self, token: Token, sender: int, to: int, amount: int) -> None:
        self.storage.add(token.address, token.supply, amount)
        self.storage.add(token.address, entry(token.balances, to), amount)
        self.holders[token.address].add(to)

    def collection_transferFrom(self, one: Collection, sender: int, owner: int, to: int, number: int) -> None:
        assert self.storage[one.address, entry(one.owners, number)] == owner == sender
        self.storage[one.address, entry(one.owners, number)] = to
        self.storage[one.address, entry(one.approvals, number)] = 0
        self.storage.add(one.address, entry(one.balances, owner), -1)
        self.storage.add(one.address, entry(one.balances, to), 1)

    def collection_mint(self, one: Collection, sender: int, to: int, number: int) -> None:
        assert self.storage[one.address, entry(one.owners, number)] == 0
        self.storage[one.address, entry(one.owners, number)] = to
        self.storage.add(one.address, entry(one.balances, to), 1)

    def collection_approve(self, one: Collection, sender: int, to: int, number: int) -> None:
        assert self.storage[one.address, entry(one.owners, number)] == sender
        self.storage[one.address, entry(one.approvals, number)] = to

    def collection_setApprovalForAll(self, one: Collection, sender: int, operator: int, whether: int) -> None:
        self.storage[one.address, entry(one.operators, sender, operator)] = whether

    def swapExactTokensForTokens(self, sender: int, amount: int, least: int, *rest: int) -> None:
        _, to, deadline, length, into, out = rest
        now, router = self.block.env.timestamp, int.from_bytes(ROUTER, "big")
        assert (deadline >= now, length) == (True, 2)
        first, second = sorted((into.to_bytes(20, "big"), out.to_bytes(20, "big")))
        where = keccak(b"\xff" + FACTORIES[0][0] + keccak(first + second) + FACTORIES[0][1])[12:]
        assert [self.storage[where, slot] for slot in (6, 7)] == [int.from_bytes(one, "big") for one in (first, second)]
        packed = self.storage[where, 8]
        old = reserves = [packed & LOW, packed // SECOND & LOW]
        a, b = (0, 1) if into < out else (1, 0)
        paid = 997 * amount * reserves[b] // (1000 * reserves[a] + 997 * amount)
        assert paid >= least
        self.token_transferFrom(self.places[into.to_bytes(20, "big")], router, sender, int.from_bytes(where, "big"), amount)
        self.token_transfer(self.places[out.to_bytes(20, "big")], int.from_bytes(where, "big"), to, paid)
        reserves = [one + (amount if i == a else -paid) for i, one in enumerate(old)]
        assert reserves[0] * reserves[1] >= old[0] * old[1]
        elapsed = (now - (packed >> 224)) % 2**32
        if elapsed:
            self.storage.add(where, 9, (old[1] << 112) // old[0] * elapsed)
            self.storage.add(where, 10, (old[0] << 112) // old[1] * elapsed)
        self.storage[where, 8] = reserves[0] | reserves[1] << 112 | now % 2**32 << 224
        self.storage[where, 12] = 1


def model_of(block: pn.EvmBlock, world: int = 0, sizes: tuple[int, int, int] = (8, 4, 4)) -> Model:
    return Model(block, Contracts(world, *sizes))


def check(block: pn.EvmBlock, done: pn.EvmExecution, model: Model) -> None:
    """All succeed, and touch and leave what the model says; balances add up."""
    touched = model.run()
    assert done.success.all()
    assert [set(one) for one in touched_storage(block, done.observed)] == touched
    left = {(where, slot): value for where, one in done.state.items() for slot, value in one.storage.items()}
    assert left == {key: value for key, value in model.storage.values.items() if value}
    for token, holders in model.holders.items():
        place = model.places[token]
        known = {entry(place.balances, one) for one in holders}
        change = sum(left.get((token, slot), 0) - block.state[token].storage.get(slot, 0) for slot in known)
        assert change == left.get((token, place.supply), 0) - block.state[token].storage.get(place.supply, 0)
    for where, pool in model.pools.items():
        packed = left[where, 8]
        held = [left[token.address, entry(token.balances, int.from_bytes(where, "big"))] for token in pool.tokens]
        assert held == [packed & LOW, packed // SECOND & LOW]
        assert held[0] * held[1] >= pool.reserves[0] * pool.reserves[1]


@mixes
def test_all_transactions_of_a_mix_do_what_the_model_says(mix: str) -> None:
    block = pn.generate_evm(mix, n_tx=2 * N)
    model = model_of(block)
    check(block, pn.execute(block, "serial"), model)
    kinds = {"transfers": 0, "erc20": 4, "erc721": 4, "amm": 1, "mixed": 9}
    assert DISABLED or len(model.done) == kinds[mix]


@few
@given(
    st.sampled_from(sorted(MIXES)), st.integers(0, 40 if not DISABLED else 3), st.integers(0, 2**64 - 1), st.integers(0, 3),
    st.integers(1, 30), st.integers(2, 5), st.integers(1, 3), st.sampled_from([0.0, 0.7, 4.0]), st.sampled_from(RECIPIENTS),
    st.integers(0, 2**31 - 1), st.sampled_from([fork for fork in Fork if fork >= Fork.PETERSBURG]),
)  # fmt: skip
def test_whatever_the_arguments_all_is_as_the_model_says(
    mix: str, n_tx: int, seed: int, world: int, n_users: int, n_tokens: int, n_collections: int, popularity: float,
    recipients: str, number: int, fork: Fork,
) -> None:  # fmt: skip
    n_pools = min(3, n_tokens * (n_tokens - 1) // 2)
    block = pn.generate_evm(
        mix, n_tx=n_tx, seed=seed, world=world, n_users=n_users, n_tokens=n_tokens, n_pools=n_pools,
        n_collections=n_collections, popularity=popularity, recipients=recipients, number=number, fork=fork,
    )  # fmt: skip
    assert (block.n_tx, block.number, block.env.fork) == (n_tx, number, fork)
    check(block, pn.execute(block, "serial"), model_of(block, world, (n_tokens, n_pools, n_collections)))


@mixes
@pytest.mark.usefixtures("always_parallel")
def test_every_executor_is_serial(mix: str) -> None:
    for seed, popularity in ((1, 0.0), (2, 1.0), (3, 4.0)):
        block = pn.generate_evm(mix, n_tx=N // 2, seed=seed, popularity=popularity, n_users=N)
        serial = pn.execute(block, "serial")
        for name in ("waves", "dataflow", "optimistic", "bal"):
            pn.execute(block, name, workers=2).check_equal(serial)


@pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")
@pytest.mark.parametrize("fork", ["PETERSBURG", "CANCUN"])
def test_revm_agrees_on_a_mixed_block(fork: str) -> None:
    assert fork in FORKS
    block = pn.generate_evm(n_tx=6 if DISABLED else 40, seed=5, fork=fork.lower(), popularity=2.0, n_users=20)
    done = pn.execute(block, "serial")
    env = {name: getattr(block.env, name) for name in block.env.__dataclass_fields__} | {"difficulty": 0}
    state = {where: Account(*one) for where, one in block.state.items()}
    for t, tx in enumerate(block.transactions):
        one = {name: getattr(tx, name) for name in ("sender", "to", "nonce", "gas_limit", "gas_price", "value", "data")}
        seen = run_pyrevm(Case(fork, env, state, {**one, "access_list": ()}))
        assert (seen.success, seen.gas_used) == (True, done.gas_used[t]), t
        assert [(log.address, log.topics, log.data) for log in done.logs[t]] == [(*log,) for log in seen.logs], t
        state = {where: Account(*account) for where, account in seen.accounts.items()}
    left = {where: Account(*account[:3], dict(account.storage)) for where, account in done.state.items()}
    assert left == {where: Account(one.balance, one.nonce, one.code, dict(one.storage)) for where, one in state.items()}


# -------------------------------------------------------------------- contracts


ONE, TWO, THREE, SHOP = (bytes([number]) * 20 for number in (0xC1, 0xC2, 0xC3, 0xA1))


def outcomes(code: bytes, storage: dict[int, int], *calls: tuple[bytes, bytes]) -> tuple[list[bool], dict[int, int]]:
    """Which calls of (sender, data) succeed, one after the other, and the storage after them."""
    txs, nonces = [], Counter[bytes]()
    for sender, data in calls:
        txs.append(Transaction(gas_price=9, gas_limit=200_000, to=SHOP, data=data, sender=sender, nonce=nonces[sender]))
        nonces[sender] += 1
    state: dict[bytes, Any] = {person: (10**18, 0, b"", {}) for person in (ONE, TWO, THREE)}
    env = BlockEnv(number=1, timestamp=1, fork="cancun", base_fee=7, excess_blob_gas=0)
    done = pn.execute(pn.EvmBlock(env, txs, state | {SHOP: (0, 1, code, storage)}), "serial")
    return done.success.tolist(), dict(done.state[SHOP].storage)


def number(address: bytes) -> int:
    return int.from_bytes(address, "big")


def test_tokens_refuse_what_is_not_there_or_not_allowed() -> None:
    code = erc20(3, 7, 5)
    one, two = (entry(3, number(who)) for who in (ONE, TWO))
    allowed = entry(7, number(ONE), number(TWO))
    assert outcomes(
        code, {one: 10, 5: 10},
        (ONE, call_data("transfer", TWO, 11)), (ONE, call_data("transfer", TWO, 4)), (ONE, call_data("transfer", ONE, 6)),
        (TWO, call_data("transferFrom", ONE, TWO, 1)), (ONE, call_data("approve", TWO, 2)),
        (TWO, call_data("transferFrom", ONE, TWO, 3)), (TWO, call_data("transferFrom", ONE, TWO, 2)),
        (TWO, call_data("transferFrom", ONE, TWO, 1)), (THREE, call_data("mint", THREE, 2**256 - 1)),
        (THREE, call_data("mint", TWO, 5)), (ONE, b"\1\2\3\4"), (ONE, b""),
    ) == (
        [False, True, True, False, True, False, True, False, False, True, False, False], {one: 4, two: 11, 5: 15},
    )  # fmt: skip
    assert outcomes(code, {}, (ONE, call_data("approve", TWO, 2))) == ([True], {allowed: 2})


def test_collections_refuse_who_is_neither_owner_nor_approved() -> None:
    code = erc721(2, 3, 4, 5)
    owner, one, two = entry(2, 9), entry(3, number(ONE)), entry(3, number(TWO))
    mine = {owner: number(ONE), one: 1}
    take = (TWO, call_data("transferFrom", ONE, TWO, 9))
    theirs = {owner: number(TWO), two: 1}
    assert outcomes(code, mine, take) == ([False], mine)
    assert outcomes(code, mine, (ONE, call_data("transferFrom", TWO, ONE, 9))) == ([False], mine)
    assert outcomes(code, mine, (TWO, call_data("approve", TWO, 9)), take) == ([False, False], mine)
    assert outcomes(code, mine, (ONE, call_data("approve", TWO, 9)), take) == ([True, True], theirs)  # approval cleared
    operator = entry(5, number(ONE), number(TWO))
    assert outcomes(code, mine, (ONE, call_data("setApprovalForAll", TWO, 7)), take) == ([True, True], theirs | {operator: 1})
    withdrawn = (ONE, call_data("setApprovalForAll", TWO, 0))
    assert outcomes(code, mine | {operator: 1}, withdrawn, take) == ([True, False], mine)
    assert outcomes(code, mine, (TWO, call_data("mint", TWO, 9))) == ([False], mine)
    assert outcomes(code, {}, (TWO, call_data("mint", TWO, 9))) == ([True], theirs)


def test_pairs_pay_only_what_keeps_the_product() -> None:
    """Whoever pays too little for a swap, or is too late, or asks for too much, gets nothing."""
    block = pn.generate_evm("amm", n_tx=1, seed=3)
    (tx,) = block.transactions
    words = [int.from_bytes(tx.data[at : at + 32], "big") for at in range(4, len(tx.data), 32)]
    pool = next(pool for pool in Contracts(0, 8, 4, 4).pools if {number(one.address) for one in pool.tokens} == {*words[6:]})

    def succeeds(to: bytes, data: bytes) -> bool:
        fields = {name: getattr(tx, name) for name in tx.__dataclass_fields__} | {"to": to, "data": data}
        return bool(pn.execute(pn.EvmBlock(block.env, [Transaction(**fields)], block.state), "serial").success[0])

    def changed(place: int, value: int) -> bool:
        given = (value if i == place else word for i, word in enumerate(words))
        return succeeds(ROUTER, call_data("swapExactTokensForTokens", *given))

    assert changed(1, 1)
    a, b = pool.reserves if words[6] < words[7] else pool.reserves[::-1]
    paid = 997 * words[0] * b // (1000 * a + 997 * words[0])
    assert changed(1, paid)
    assert not changed(1, paid + 1)
    assert changed(4, block.env.timestamp)
    assert not changed(4, block.env.timestamp - 1)
    assert not changed(5, 3)
    assert not changed(7, words[6])
    assert not changed(0, 10**28)
    for outs in ((0, 0), (1, 0), (0, 1), (pool.reserves[0], 0), (2**255, 0)):
        assert not succeeds(pool.address, call_data("swap", *outs, ONE, 0x80, 0)), outs


@pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")
def test_views_tell_what_is_there() -> None:
    block = pn.generate_evm("mixed", n_tx=30, seed=4)
    done = pn.execute(block, "serial")
    contracts, sender = Contracts(0, 8, 4, 4), block.transactions[0].sender
    state = {where: Account(*one) for where, one in done.state.items()}
    env = {name: getattr(block.env, name) for name in block.env.__dataclass_fields__}

    def asked(where: bytes, name: str, *words: bytes | int) -> int | None:
        tx = {"sender": sender, "to": where, "nonce": state[sender].nonce, "gas_limit": 100_000, "gas_price": 10**9}
        tx |= {"value": 0, "data": call_data(name, *words), "access_list": ()}
        seen = run_pyrevm(Case("CANCUN", env, state, tx))
        return int.from_bytes(seen.output[:32], "big") if seen.success else None

    token, collection, pool = contracts.tokens[0], contracts.collections[0], contracts.pools[0]
    kept = dict(state[token.address].storage)
    assert asked(token.address, "balanceOf", pool.address) == kept[entry(token.balances, number(pool.address))] > 0
    assert asked(token.address, "totalSupply") == kept[token.supply]
    assert asked(token.address, "allowance", ONE, TWO) == 0
    assert asked(collection.address, "ownerOf", 1) is None
    for name in ("balanceOf", "getApproved", "isApprovedForAll"):
        assert asked(collection.address, name, ONE, TWO) == 0
    assert asked(pool.address, "getReserves") == state[pool.address].storage[8] & LOW


def test_constants_are_what_they_stand_for() -> None:
    for signature, selector in SELECTORS.items():
        assert keccak(signature.encode())[:4] == selector.to_bytes(4, "big"), signature
    assert FACTORIES[0] == (FACTORY, PAIR_CODE_HASH)
    assert all(sum(shares.values()) == 100 for shares in MIXES.values())
    for exponent in (0.0, 0.3, 1.0, 2.5, 4.0):
        assert zipf_sums(50, exponent) == zipf_weights(50, exponent).tolist()


# -------------------------------------------------------------------- what arguments do


def test_the_same_arguments_give_the_same_block_everywhere() -> None:
    assert pn.generate_evm(n_tx=20, seed=1).digest()[:16] == "ab40a2c6cc171812"
    assert pn.generate_evm(n_tx=20, seed=1) == pn.generate_evm("mixed", n_tx=20, seed=1, fork=Fork.CANCUN)
    others = ({"seed": 2}, {"world": 1}, {"n_users": 9}, {"number": 2}, {"recipients": "fresh"}, {"popularity": 3.0})
    digests = {pn.generate_evm(n_tx=20, **{"seed": 1, **change}).digest() for change in (*others, {})}
    assert len(digests) == len(others) + 1


def test_blocks_of_a_world_share_contracts() -> None:
    one, two, other = (pn.generate_evm(n_tx=9, seed=seed, world=world) for seed, world in ((1, 0), (2, 0), (1, 1)))
    codes = [{where: account.code for where, account in block.state.items() if account.code} for block in (one, two, other)]
    assert codes[0] == codes[1]
    assert codes[0].keys() & codes[2].keys() == {ROUTER}
    small, large = Contracts(5, 3, 2, 1), Contracts(5, 9, 12, 3)
    assert (small.tokens, small.pools, small.collections) == (large.tokens[:3], large.pools[:2], large.collections[:1])
    for place in (*large.tokens, *large.collections):
        assert len(set(place[1:])) == len(place) - 1


def test_nonces_count_up_and_senders_are_users() -> None:
    block = pn.generate_evm("transfers", n_tx=60, n_users=7)
    seen: Counter[bytes | None] = Counter()
    for tx in block.transactions:
        assert tx.nonce == seen[tx.sender]
        assert tx.to != tx.sender
        seen[tx.sender] += 1
    assert len(seen) == 7
    alone = pn.generate_evm("erc20", n_tx=9, n_users=1)
    assert pn.execute(alone, "serial").success.all()


def rate(mix: str, **arguments: Any) -> float:
    return pn.conflict_counts(pn.execute(pn.generate_evm(mix, n_tx=N, **arguments), "serial").observed).rate


@pytest.mark.skipif(DISABLED, reason="needs blocks of some size")
def test_popularity_and_recipients_decide_how_many_conflict() -> None:
    for mix, more in (("amm", {"n_pools": 20}), ("erc20", {"recipients": "one"}), ("erc721", {"recipients": "one"})):
        rates = [rate(mix, popularity=popularity, **more) for popularity in (0.0, 1.0, 2.0, 4.0)]
        assert rates == sorted(rates), (mix, rates)
        assert rates[-1] > 1.5 * rates[0], (mix, rates)
    for mix in ("transfers", "erc20", "erc721"):
        fresh, users, one = (rate(mix, recipients=who) for who in ("fresh", "users", "one"))
        assert fresh < users, mix
        assert fresh == one if mix == "transfers" else users < one, mix  # ether is credited: who only pays does not conflict
    assert rate("transfers", n_users=2**32 - 1, recipients="fresh") == 0
    assert rate("amm", n_tokens=2, n_pools=1) == 1
    assert rate("transfers", n_users=1) == 1


@mixes
@pytest.mark.skipif(DISABLED, reason="needs blocks of some size")
def test_patterns_tell_the_storage_of_a_block_from_those_before(mix: str) -> None:
    """All but the prices of a pair, which the first swap of a block touches and no other."""
    patterns = built_in_patterns()
    *before, last = (pn.generate_evm(mix, n_tx=250, seed=seed, number=seed) for seed in range(1, 8))
    for block in before[-6 if mix == "mixed" else -2 :]:
        ask_layouts(patterns, block)
        learn_block(patterns, block, pn.execute(block, "serial").observed)
    ask_layouts(patterns, last)
    touched = touched_storage(last, pn.execute(last, "serial").observed)
    found = storage_quality(predicted_storage(last, patterns), touched)
    assert found.precision >= 0.95
    assert found.recall >= 0.95


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"mix": "erc1155"}, "mix = 'erc1155': must be one of transfers, erc20, erc721, amm, mixed"),
        ({"mix": None}, "mix = None: must be one of"),
        ({"n_tx": -1}, r"n_tx = -1: must be in \[0, 65536\]"),
        ({"n_tx": 2.5}, "n_tx = 2.5: must be an integer"),
        ({"seed": 2**64}, "seed = 18446744073709551616: must be in"),
        ({"world": -1}, "world = -1: must be in"),
        ({"n_users": 0}, "n_users = 0: must be in"),
        ({"n_tokens": 1}, r"n_tokens = 1: must be in \[2, 256\]"),
        ({"n_tokens": 3, "n_pools": 4}, r"n_pools = 4: must be in \[1, 3\]"),
        ({"n_collections": 0}, "n_collections = 0: must be in"),
        ({"popularity": 4.5}, "popularity = 4.5: must be a finite number, at least 0 and at most 4"),
        ({"popularity": float("nan")}, "popularity = nan: must be a finite number"),
        ({"recipients": "all"}, "recipients = 'all': must be one of users, fresh, one"),
        ({"number": 2**31}, "number = 2147483648: must be in"),
        ({"fork": "byzantium"}, "fork = byzantium: must be petersburg or later"),
        ({"fork": "dinner"}, "fork 'dinner' is unknown"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(BlockError, match=rule):
        pn.generate_evm(**arguments)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ADD\nPUSH1", "line 2, 'PUSH1': must be an opcode, a number, or a name that is known"),
        ("$nothing", r"line 1, '\$nothing': must be"),
        ("@nowhere JUMP", "line 1, '@nowhere': must be a place of the program"),
        ("a:\n\na:", "line 3, 'a:': a place must have a name of its own"),
        ("-1", r"line 1, '-1' = -1: must be in \[0, "),
        (7, "text = 7: must be a str"),
    ],
)  # fmt: skip
def test_the_assembler_says_what_is_wrong(text: Any, rule: str) -> None:
    with pytest.raises(BlockError, match=rule):
        assemble(text)


def test_the_assembler_pushes_as_little_as_it_takes() -> None:
    assert assemble("0 255 256 $big", big=2**256 - 1).hex() == "6000" "60ff" "610100" "7f" + "ff" * 32
    assert assemble("a: @b ADD b: @a  # c: 7").hex() == "5b" "610005" "01" "5b" "610000"
    with pytest.raises(BlockError, match=r"\$big = -1: must be in"):
        assemble("$big", big=-1)
    assert assemble("") == b""
