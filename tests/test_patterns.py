"""Patterns of storage keys: derived as a plain reading of them says, learned from calls, and never from what comes later."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba._kernels.patterns import PLACES
from pevm_numba.access import pattern_learning
from pevm_numba.access.asking import ask_layouts
from pevm_numba.access.calls import Calls, calls_of, places_of
from pevm_numba.access.pattern_json import patterns_from_json, patterns_to_json
from pevm_numba.access.pattern_learning import explained_slots, learn
from pevm_numba.access.pattern_library import built_in_patterns
from pevm_numba.access.patterns import FACTORIES, KeyPattern, Patterns, Stats, Step, Word
from pevm_numba.access.prediction import learn_block, predict, predicted_storage, time_series, touched_storage
from pevm_numba.access.scoring import _numbered, score
from pevm_numba.access.trust import FEATURES, Trust
from pevm_numba.errors import BlockError
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.market import Contracts
from pevm_numba.evm.transaction import Transaction
from pevm_numba.storage.world import StoreSource

TOKEN, OTHER = b"\xa0" * 20, b"\xb0" * 20
USDC, WETH = (bytes.fromhex(one) for one in (
    "a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
))  # fmt: skip


def word(value: int | bytes) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def calls(rows: list[tuple[bytes, bytes, bytes]]) -> Calls:
    """Of (sender, callee, data)."""
    data = [one[2] for one in rows]
    return Calls(
        np.frombuffer(b"".join(one[0] for one in rows), np.uint8).reshape(-1, 20),
        np.frombuffer(b"".join(one[1] for one in rows), np.uint8).reshape(-1, 20), np.zeros(len(rows), bool),
        np.frombuffer(b"".join(data), np.uint8), np.cumsum([0] + [len(one) for one in data]),
    )  # fmt: skip


def entry(key: int | bytes, slot: int) -> int:
    """Slot of an entry of a mapping."""
    return int.from_bytes(keccak(word(key) + word(slot)), "big")


# -------------------------------------------------------------------- deriving


def is_address(value: int) -> bool:
    return 2**96 <= value < 2**160


def naive_word(one: Word, sender: bytes, callee: bytes, data: bytes, place: int) -> int | None:
    """What a word is in a call, in plain Python."""
    words = [int.from_bytes(data[4 + 32 * w : 36 + 32 * w], "big") for w in range((len(data) - 4) // 32)]
    if one.kind == "const":
        return one.argument
    if one.kind in ("sender", "callee"):
        return int.from_bytes(sender if one.kind == "sender" else callee, "big")
    if one.kind in ("word", "last"):
        at = one.argument if one.kind == "word" else len(words) - 1 - one.argument
        return words[at] if 0 <= at < len(words) else None
    in_path = place < 0 and one.kind.startswith("each")
    if in_path:  # a hop: address, fee, address
        hop = data[~place : ~place + 43]
        if one.kind == "each":
            return int.from_bytes(hop[:20], "big")
        if one.kind == "each_next":
            return int.from_bytes(hop[23:], "big")
        if one.kind == "each_pool" and one.argument < 2:
            return None
        words = [int.from_bytes(part, "big") for part in (hop[:20], hop[23:], hop[20:23])]
    elif one.kind.startswith("each"):
        words = [int.from_bytes(data[at : at + 32], "big") for at in range(place, len(data) - 31, 32)]
    if one.kind in ("each", "each_next"):
        at = int(one.kind == "each_next")
        return words[at] if at < len(words) and is_address(words[at]) else None
    f, at = one.argument % len(FACTORIES), one.argument // len(FACTORIES)
    at = 0 if one.kind == "each_pool" else len(words) - 1 - at if one.kind == "last_pool" else at
    fee = f == len(FACTORIES) - 1
    if at < 0 or at + 1 + fee >= len(words) or (not in_path and not (is_address(words[at]) and is_address(words[at + 1]))):
        return None
    low, high = sorted(words[at : at + 2])
    salt = word(low) + word(high) + word(words[at + 2]) if fee else low.to_bytes(20, "big") + high.to_bytes(20, "big")
    maker, code = FACTORIES[f]
    return int.from_bytes(keccak(b"\xff" + maker + keccak(salt) + code)[12:], "big")


def naive_places(data: bytes, within: bool = False) -> list[int]:
    """Where words begin, and complements of where hops of paths do: a word that is the size of a call within the data leads
    to its selector and words, then filled up; one that is the size of a path leads to that."""
    found, at = [], 4
    while at + 32 <= len(data):
        found.append(at)
        size = int.from_bytes(data[at : at + 32], "big")
        at += 32
        if size > len(data) - at:
            continue
        if size > 20 and size % 23 == 20:
            found += [~hop for hop in range(at, at + size - 20, 23)]
            at += -(-size // 32) * 32
        elif size % 32 == 4 and size > 4 and not within:
            inner = naive_places(data[at : at + size], within=True)
            found += [at + one if one >= 0 else ~(at + ~one) for one in inner]
            at += size + 28
    return found


def naive_keys(pattern: KeyPattern, patterns: Patterns, row: tuple[bytes, bytes, bytes]) -> list[tuple[bytes, int]]:
    """Keys that a pattern gives for a call."""
    anywhere = any(one.kind.startswith("each") for one in pattern.words)
    found = []
    places = [at for at in naive_places(row[2]) if at < 0 or is_address(int.from_bytes(row[2][at : at + 32], "big"))]
    for place in places if anywhere else [0]:
        address = naive_word(pattern.address, *row, place)
        if address is None or not is_address(address):
            continue
        contract = address.to_bytes(20, "big")
        if isinstance(pattern.start, str):
            base = patterns.base(contract, pattern.start)
            slot = patterns.usual.get(pattern.start) if base is None else base
        else:
            slot = naive_word(pattern.start, *row, place)
        for step in pattern.steps:
            value = naive_word(step.word, *row, place)
            if slot is None or value is None:
                slot = None
                break
            if step.how == "array":
                slot = (int.from_bytes(keccak(word(slot)), "big") + value) % 2**256
            else:
                pair = word(value) + word(slot) if step.how == "mapping" else word(slot) + word(value)
                slot = int.from_bytes(keccak(pair), "big")
        if slot is not None:
            found.append((contract, (slot + pattern.offset) % 2**256))
    return found


numbers = st.integers(0, 8)
words = st.one_of(
    st.builds(Word, st.sampled_from(["sender", "callee"]), st.just(0)),
    st.builds(Word, st.sampled_from(["word", "last"]), numbers),
    st.builds(Word, st.just("const"), st.sampled_from([0, 5, 2**160 - 7, 2**255])),
    st.builds(Word, st.sampled_from(["pool", "last_pool"]), st.integers(0, 11)),
    st.builds(Word, st.sampled_from(["each", "each_next"]), st.just(0)),
    st.builds(Word, st.just("each_pool"), st.integers(0, 2)),
)  # fmt: skip
key_patterns = st.builds(
    KeyPattern, words, st.one_of(words, st.sampled_from(["balances", "allowances", "owners"])),
    st.lists(st.builds(Step, st.sampled_from(["mapping", "vyper", "array"]), words), max_size=3).map(tuple),
    st.sampled_from([0, 1, 300]),
)  # fmt: skip
people = st.sampled_from([b"\xc1" * 20, b"\xc2" * 20, TOKEN, OTHER])
values = st.one_of(people.map(word), st.integers(0, 9).map(word), st.binary(min_size=32, max_size=32))
inner = st.lists(values, min_size=1, max_size=4).map(  # a call within the data
    lambda its: word(4 + 32 * len(its)) + b"\x12\x34\x56\x78" + b"".join(its) + bytes(28)
)
hops = st.lists(st.tuples(people, st.sampled_from([500, 3000])), min_size=1, max_size=3)


def packed(its: list[tuple[bytes, int]]) -> bytes:
    """A path of Uniswap V3, behind its size."""
    tight = b"".join(token + fee.to_bytes(3, "big") for token, fee in its)[:-3]
    return word(len(tight)) + tight + bytes(-len(tight) % 32)


path = hops.map(packed)
within = st.lists(st.one_of(values, path), min_size=1, max_size=3).map(b"".join).map(
    lambda its: word(4 + len(its)) + b"\x12\x34\x56\x78" + its + bytes(28)
)
pieces = st.lists(st.one_of(values, inner, path, within), max_size=7)
datas = pieces.map(lambda its: bytes.fromhex("a9059cbb") + b"".join(its))
cut = st.one_of(datas, datas.map(lambda one: one[:-3]))
rows = st.lists(st.tuples(people, st.sampled_from([TOKEN, OTHER]), cut), max_size=4)
Row = tuple[bytes, bytes, bytes]


@given(st.lists(key_patterns, max_size=5, unique=True), rows)
@settings(max_examples=150, deadline=None)
def test_keys_are_derived_as_a_plain_reading_has_them(listed: list[KeyPattern], given_rows: list[Row]) -> None:
    layouts = {TOKEN: {"balances": {7: 2, 3: 1}}, OTHER: {"allowances": {2**200: 1}}}
    group = {one: Stats() for one in listed}
    templates = {(TOKEN, 0xA9059CBB): group, (None, 0xA9059CBB): dict(list(group.items())[:2])}
    patterns = Patterns(templates, layouts, {"owners": 4})
    derived, order = patterns.derive(calls(given_rows))
    found = Counter(
        (t, order[e][1], address.tobytes(), int.from_bytes(slot.tobytes(), "big"))
        for t, e, address, slot in zip(derived.tx.tolist(), derived.pattern.tolist(), derived.address, derived.slot)
    )
    wanted = Counter[Any]()
    for t, row in enumerate(given_rows):
        if len(row[2]) >= 4:
            mine = listed if row[1] == TOKEN else listed[:2]
            wanted.update((t, one, *key) for one in mine for key in naive_keys(one, patterns, row))
    assert found == wanted


@given(cut)
@settings(max_examples=150, deadline=None)
def test_places_of_addresses_are_where_a_plain_reading_has_them(data: bytes) -> None:
    wanted = [at for at in naive_places(data) if at < 0 or is_address(int.from_bytes(data[at : at + 32], "big"))]
    assert list(places_of(data)) == wanted


def test_addresses_of_exchanges_are_those_on_mainnet() -> None:
    data = bytes(4) + word(USDC) + word(WETH) + word(500)
    made = [naive_word(Word("pool", f), TOKEN, TOKEN, data, 0) for f in range(3)]
    assert made[0] == 0xB4E16D0168E52D35CACD2C6185B44281EC28C9DC
    assert made[1] == 0x397FF1542F962076D0BFE58EA045FFA2D347ACA0
    assert made[2] == 0x88E6A0C2DDD26FEEB64F039A2C41296FCB3F5640
    listed = {KeyPattern(Word("pool", f), Word("const", 8)): Stats() for f in range(3)}
    derived, _ = Patterns({(TOKEN, 0): listed}).derive(calls([(OTHER, TOKEN, data)]))
    assert [int.from_bytes(one.tobytes(), "big") for one in derived.address] == made


# -------------------------------------------------------------------- learning


def token_call(sender: bytes, to: bytes, kind: str = "transfer") -> tuple[Row, dict[tuple[bytes, int], bool]]:
    """A call of a token: balances in slot 3, allowances in 4, Vyper's in 6, records of three words in 8, a pause in 9, an
    array in 11."""
    amount = 5
    if kind == "transfer":
        data, keys = "a9059cbb", {entry(sender, 3): True, entry(to, 3): True, 9: False}
    elif kind == "approve":
        data, keys = "095ea7b3", {entry(to, entry(sender, 4)): True}
    elif kind == "vyper":
        data, keys = "70a08231", {int.from_bytes(keccak(word(6) + word(to)), "big"): False}
    elif kind == "array":
        amount = 1000 + to[0]
        data, keys = "87654321", {(int.from_bytes(keccak(word(11)), "big") + amount) % 2**256: True}
    else:
        data, keys = "12345678", {entry(to, 8) + 2: True, entry(to, 8): False}
    row = sender, TOKEN, bytes.fromhex(data) + word(to) + word(amount)
    return row, {(TOKEN, slot): written for slot, written in keys.items()}


def who(n: int) -> bytes:
    return keccak(bytes([n]))[:20]


@pytest.mark.parametrize("kind", ["transfer", "approve", "vyper", "record", "array"])
def test_a_few_calls_tell_where_the_next_one_goes(kind: str) -> None:
    patterns = Patterns()
    for n in range(6):
        row, touched = token_call(who(2 * n), who(2 * n + 1), kind)
        learn(patterns, calls([row]), [touched])
    row, touched = token_call(who(100), who(101), kind)
    scored = score(patterns, calls([row]), 7)
    sure = {
        (address.tobytes(), int.from_bytes(slot.tobytes(), "big")): chance
        for address, slot, chance in zip(scored.address, scored.slot, scored.chance.tolist())
    }
    assert {key for key, chance in sure.items() if chance >= 0.5} == touched.keys()
    if kind == "transfer":
        assert patterns.base(TOKEN, "balances") == 3
    if kind == "approve":
        assert patterns.base(TOKEN, "allowances") == 4


def test_a_new_pattern_is_held_against_the_other_calls_of_its_block() -> None:
    made = [token_call(who(2 * n), who(2 * n + 1)) for n in range(5)]
    touched = [keys | ({(TOKEN, 5): False, (TOKEN, 6): n == 3} if n in (1, 3) else {}) for n, (_, keys) in enumerate(made)]
    patterns = Patterns()
    learn(patterns, calls([row for row, _ in made]), touched, 8)
    group = patterns.templates[TOKEN, 0xA9059CBB]
    balance = KeyPattern(Word("callee"), Word("const", 3), (Step("mapping", Word("sender")),))
    assert (group[balance].hits, group[balance].calls, group[balance].writes) == (4, 4, 5)
    for slot, writes in ((5, 0), (6, 1)):
        stats = group[KeyPattern(Word("callee"), Word("const", slot))]
        assert (stats.hits, stats.calls, stats.writes) == (1, 4, writes)
    chance = {int.from_bytes(slot.tobytes(), "big"): p for slot, p in zip(*_sure(patterns, token_call(who(50), who(51))[0]))}
    assert chance[entry(who(50), 3)] > 0.6 > 0.5 > chance[5]
    alone = Patterns()
    learn(alone, calls([made[0][0]]), [touched[0]], 8)
    assert {(stats.hits, stats.calls) for _, _, stats in alone} == {(0, 0)}
    assert patterns_from_json(patterns_to_json(patterns)) == patterns


def test_new_patterns_of_a_block_give_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call touches slots of its own that nothing explains: all patterns for all calls would be 40 * 800 keys."""
    real, given = Patterns.derive, list[int]()

    def derive(self: Patterns, of: Calls, *more: Any) -> Any:
        derived, listed = real(self, of, *more)
        given.append(len(derived.tx))
        return derived, listed

    rows = [token_call(who(2 * n), who(2 * n + 1))[0] for n in range(40)]
    touched = [{(TOKEN, 10**6 + 20 * n + i): False for i in range(20)} for n in range(40)]
    monkeypatch.setattr(Patterns, "derive", derive)
    monkeypatch.setattr(pattern_learning, "_GIVEN", 2_000)
    patterns = Patterns()
    learn(patterns, calls(rows), touched, 8)
    assert max(given) == 2_000
    monkeypatch.setattr(pattern_learning, "_GIVEN", 10**6)
    learn(Patterns(), calls(rows), touched, 8)
    assert max(given) == 40 * 800


def _sure(patterns: Patterns, row: tuple[bytes, bytes, bytes]) -> tuple[Any, list[float]]:
    scored = score(patterns, calls([row]), 9)
    return scored.slot, scored.chance.tolist()


def test_what_is_never_hit_again_is_dropped() -> None:
    patterns = Patterns()
    row, touched = token_call(who(0), who(1))
    learn(patterns, calls([row]), [touched | {(OTHER, 77): True}])
    assert any(pattern.address == Word("const", int.from_bytes(OTHER, "big")) for _, pattern, _ in patterns)
    for n in range(25):
        row, touched = token_call(who(2 * n), who(2 * n + 1))
        learn(patterns, calls([row]), [touched])
    assert not any(pattern.address == Word("const", int.from_bytes(OTHER, "big")) for _, pattern, _ in patterns)


def block_of(kinds: list[str], number: int = 0) -> pn.Block:
    """A block of micro-ops whose transactions touch what such calls do."""
    made = [token_call(who(10 * number + 2 * n), who(10 * number + 2 * n + 1), kind) for n, kind in enumerate(kinds)]
    programs = [
        [("SSTORE" if written else "SLOAD", (int.from_bytes(address, "big"), 0, slot), *((5,) if written else ()))
         for (address, slot), written in touched.items()] for _, touched in made
    ]  # fmt: skip
    meta = {"to": [row[1] for row, _ in made], "input": [row[2] for row, _ in made]}
    return pn.Block.from_programs(programs, senders=[row[0] for row, _ in made], meta=meta, number=number)


def test_blocks_are_predicted_by_those_before_them_and_by_nothing_else() -> None:
    kinds = ["transfer", "approve", "record"]
    blocks = [block_of(kinds, number) for number in range(5)]
    pairs = [(block, pn.access_sets(block)) for block in blocks]
    seen = [found for _, found in time_series(pairs, Patterns())]
    assert [one.seen for one in seen[0]] == [False] * 3
    assert not any(one.predicted for one in seen[0])
    assert all(one.seen for one in seen[1])
    later = block_of(["vyper"] * 3, 9)
    again = [found for _, found in time_series([*pairs[:4], (later, pn.access_sets(later))], Patterns())]
    assert again[:4] == seen[:4]
    patterns = Patterns()
    for block, access in pairs[:4]:
        learn_block(patterns, block, access)
    assert predicted_storage(blocks[4], patterns) == [one.predicted for one in seen[4]]
    sets = predict(blocks[4], patterns)
    truth = pn.access_sets(blocks[4])
    assert [one.keys() for one in sets] == [one.keys() for one in truth]
    assert pn.accuracy(sets, truth).recall > 0.6
    for executor in ("dataflow", "waves", "optimistic"):
        pn.execute(blocks[4], executor, access=sets, workers=2).check_equal(pn.execute(blocks[4], "serial"))
    assert predict(blocks[4], patterns, 1.0).n_accesses <= sets.n_accesses <= predict(blocks[4], patterns, 0.0).n_accesses


def test_calls_of_either_kind_of_block() -> None:
    from test_evm_folders import example

    made = calls_of(example())
    assert made.n_tx == example().n_tx
    assert made.sender.tobytes() == b"".join(tx.sender or b"" for tx in example().transactions)
    sets = predict(example(), built_in_patterns())
    assert sets.n_tx == example().n_tx
    assert sets.n_accesses >= pn.access_sets(example(), "static").n_accesses
    with pytest.raises(BlockError, match="without columns 'to' and 'input'"):
        calls_of(pn.generate(n_tx=3))
    with pytest.raises(BlockError, match="must be a Block"):
        calls_of(5)  # type: ignore[arg-type]  # the point of the test
    assert touched_storage(example(), pn.access_sets(example()))


# -------------------------------------------------------------------- trust


Learned = tuple[list[float], bool, float]


def naive_cost(trust: Trust, mean: list[float], rows: list[list[float]], cases: list[Learned]) -> float:
    """What learning makes least: surprise at the outcomes, and distance from what was known."""
    total = 0.0
    for row, (_, hit, weight) in zip(rows, cases):
        total -= weight * math.log(1 / (1 + math.exp(-sum(a * b for a, b in zip(row, mean)) * (1 if hit else -1))))
    moved = [a - b for a, b in zip(mean, trust.mean.tolist())]
    return total + sum(a * p * b for a, line in zip(moved, trust.precision.tolist()) for p, b in zip(line, moved)) / 2


@given(st.lists(
    st.tuples(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.booleans(), st.sampled_from([0.1, 0.5, 1.0])),
    min_size=1, max_size=12,
))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_learning_makes_surprise_least(cases: list[Learned]) -> None:
    rows = np.zeros((len(cases), len(FEATURES)))
    rows[:, :3] = [row for row, _, _ in cases]
    hits, weights = np.array([hit for _, hit, _ in cases]), np.array([weight for *_, weight in cases])
    before, trust = Trust(), Trust()
    trust.learn(rows, hits, weights)
    best = naive_cost(before, trust.mean.tolist(), rows.tolist(), cases)
    for i in range(4):
        for step in (-0.05, 0.05):
            other = trust.mean.copy()
            other[i] += step
            assert naive_cost(before, other.tolist(), rows.tolist(), cases) > best
    chances = trust.chances(rows)
    gained = np.zeros_like(before.precision)
    for p, row, weight in zip(chances, rows, weights):
        gained += weight * p * (1 - p) * np.outer(row, row)
    assert np.allclose(trust.precision, before.precision + gained)
    assert np.array_equal(trust.precision, trust.precision.T)
    assert before == Trust()


def test_trust_learns_nothing_from_nothing() -> None:
    trust = Trust()
    trust.learn(np.empty((0, len(FEATURES))), np.empty(0, bool), np.empty(0))
    assert trust == Trust()


def test_a_block_of_one_function_says_no_more_for_having_many_calls() -> None:
    """Whose calls fail or succeed together, mostly: a pattern counts once a block."""
    made = [token_call(who(2 * n), who(2 * n + 1)) for n in range(20)]
    few, many = Patterns(), Patterns()
    for patterns, n in ((few, 2), (many, 20)):
        learn(patterns, calls([made[0][0]]), [made[0][1]], 1)
        learn(patterns, calls([row for row, _ in made[:n]]), [touched for _, touched in made[:n]], 2)
    moved = [np.abs(one.trust.mean - Trust().mean).max() for one in (few, many)]
    assert 0 < moved[1] < 1.2 * moved[0]


def test_features_are_of_one_size() -> None:
    """The prior holds them back alike: a large one would stand for a constant, of which few blocks may make anything."""
    patterns = built_in_patterns()
    for n in range(60):
        row, touched = token_call(who(2 * n), who(2 * n + 1))
        learn(patterns, calls([row]), [touched], 100_000 * n)
    rows = score(patterns, calls([token_call(who(150), who(151))[0]]), 2**23).rows()
    assert len(rows)
    odds = [i for i, name in enumerate(FEATURES) if "hits against misses" in name]
    assert np.abs(np.delete(rows, odds, axis=1)).max() <= 1.5


CONSTANT = KeyPattern(Word("callee"), Word("const", 5))


def features(patterns: Patterns, row: tuple[bytes, bytes, bytes], number: int = 9) -> dict[str, float]:
    """Of the only key of a call."""
    scored = score(patterns, calls([row]), number)
    (one,) = scored.rows().tolist()
    return dict(zip(FEATURES, one))


def test_what_happened_of_late_counts_more() -> None:
    row, key = (who(0), TOKEN, bytes.fromhex("12345678")), {(TOKEN, 5): True}
    chances, late = [], []
    for touched in ([key, key, {}, {}], [{}, {}, key, key]):
        patterns = Patterns({(TOKEN, 0x12345678): {CONSTANT: Stats()}})
        for n, one in enumerate(touched):
            learn(patterns, calls([row, row]), [one, one], n)
        patterns.trust, patterns.touched, patterns.contracts, patterns.groups = Trust(), {}, {}, {}
        late.append(features(patterns, row)["of late"])
        assert features(patterns, row)["of late, address callee"] == late[-1]
        assert features(patterns, row)["of late, address const"] == 0
        assert patterns.templates[TOKEN, 0x12345678][CONSTANT].calls == 8
        patterns.trust.mean[list(FEATURES).index("of late")] = 1
        chances += score(patterns, calls([row]), 9).chance.tolist()
    assert late == [-0.5625, 0.5625]
    assert chances[0] < 0.5 < chances[1]


def test_what_was_right_of_other_contracts_is_expected_of_a_new_one() -> None:
    """By what a function is called, and by the kind of its patterns; each pattern counts once a block for its kind."""
    row = who(0), OTHER, bytes.fromhex("12345678")
    found = []
    for touched in ({(TOKEN, 5): True}, {}):
        patterns = Patterns({(where, 0x12345678): {CONSTANT: Stats()} for where in (TOKEN, OTHER)})
        for n in range(4):
            learn(patterns, calls([(who(n), TOKEN, row[2])] * 3), [touched] * 3, n)
        found.append((patterns.kinds, features(patterns, row)))
    (right, good), (wrong, bad) = found
    assert (right, wrong) == ({CONSTANT.kinds: (4.0, 0.0)}, {CONSTANT.kinds: (0.0, 4.0)})
    assert good["its kind's hits against misses, by call"] == -bad["its kind's hits against misses, by call"] == math.log(5)
    selector = "the selector's hits against misses, log"
    assert good[selector] == pytest.approx(math.log(13))
    assert bad[selector] < 0
    patterns.templates[OTHER, 0x12345678][CONSTANT].add(3, 3)
    assert features(patterns, row)["its kind's hits against misses, by call"] == -math.log(5) / 4  # its own counts more
    other = who(0), OTHER, bytes.fromhex("12345679")
    patterns.templates[OTHER, 0x12345679] = {CONSTANT: Stats()}
    assert features(patterns, other)[selector] == 0


def test_a_variable_that_was_not_touched_when_its_contract_was() -> None:
    row, name = (who(0), TOKEN, bytes.fromhex("12345678") + word(who(1))), "never touched, though its contract was"
    entries = KeyPattern(Word("callee"), Word("const", 5), (Step("mapping", Word("word")),))
    for pattern, touched, told in (
        (CONSTANT, {}, 0), (CONSTANT, {(TOKEN, 6): True}, 1), (CONSTANT, {(TOKEN, 5): True}, 0),
        (entries, {(TOKEN, 6): True}, 0),
    ):  # fmt: skip
        patterns = Patterns({(TOKEN, 0x12345678): {pattern: Stats()}})
        learn(patterns, calls([(who(0), OTHER, b"")]), [touched], 1)
        assert features(patterns, row)[name] == told


def test_patterns_of_one_kind_are_counted_by_function() -> None:
    row = who(0), TOKEN, bytes.fromhex("12345678")
    more = {KeyPattern(Word("word"), Word("const", n)): Stats() for n in range(3)}  # which there is none of in the call
    patterns = Patterns({(TOKEN, 0x12345678): {CONSTANT: Stats(), **more}, (OTHER, 0x12345678): {CONSTANT: Stats()}})
    assert features(patterns, row)["patterns of its kind, log"] == math.log(2) / 4
    more = {KeyPattern(Word("callee"), Word("const", 5), offset=n): Stats() for n in range(1, 3)}
    patterns.templates[TOKEN, 0x12345678] |= more
    rows = score(patterns, calls([row]), 9).rows()
    assert rows[:, list(FEATURES).index("patterns of its kind, log")].tolist() == [math.log(4) / 4] * 3


def test_each_key_is_scored_once_by_the_surest_way() -> None:
    patterns = built_in_patterns()
    for n in range(6):
        row, touched = token_call(who(2 * n), who(2 * n + 1))
        learn(patterns, calls([row]), [touched], n)
    rows = [token_call(who(50), who(50))[0], token_call(who(51), who(52))[0]]  # sender and recipient are the same, or not
    scored = score(patterns, calls(rows), 6)
    keys = list(zip(scored.tx.tolist(), scored.address.tolist(), scored.slot.tolist()))
    assert len({str(key) for key in keys}) == len(keys)
    derived = scored.derived
    assert len(derived.tx) == len(scored.key) > len(keys)
    for i, k in enumerate(scored.key.tolist()):
        assert derived.tx[i] == scored.tx[k]
        assert bytes(derived.slot[i]) == bytes(scored.slot[k])
        assert bytes(derived.address[i]) == bytes(scored.address[k])
    assert np.allclose(patterns.trust.chances(scored.rows()), scored.chance)
    assert scored.rows().shape == (len(keys), len(FEATURES))


def test_keys_with_one_digest_stay_two() -> None:
    """Which there are none of by chance; here digests are no more than the last byte."""
    slots = [5, 5 + 2**64, 6]
    group = {KeyPattern(Word("callee"), Word("const", slot)): Stats() for slot in slots}
    patterns, row = Patterns({(TOKEN, 0xA9059CBB): group}), (who(0), TOKEN, bytes.fromhex("a9059cbb"))
    derived, _ = patterns.derive(calls([row]))
    key, ways = _numbered(derived, derived.slot[:, -1].astype(np.uint64))
    assert len(set(key.tolist())) == 3
    assert ways.tolist() == [1, 1, 1]
    assert len(score(patterns, calls([row]), 0).tx) == 3


def test_a_payout_to_hundreds_is_learned_from_without_trying_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes.fromhex("e63d38ed") + b"".join(word(who(n % 256)) for n in range(256)) + word(keccak(b"more")[:20])
    row = who(0), OTHER, data
    patterns, hashed, plain = Patterns(), 0, pattern_learning._hashes

    def counted(first: Any, second: Any) -> Any:
        nonlocal hashed
        hashed += len(first) * len(second)
        return plain(first, second)

    monkeypatch.setattr(pattern_learning, "_hashes", counted)
    learn(patterns, calls([row]), [{(TOKEN, 2**200 + n): True for n in range(3)}])
    assert len(patterns) == 3
    assert 0 < hashed < 500_000
    many = OTHER, who(1), bytes.fromhex("e63d38ed") + b"".join(word(who(n % 250)) for n in range(300))
    each = {KeyPattern(Word("each"), Word("const", 5)): Stats()}
    derived, _ = Patterns({(who(1), 0xE63D38ED): each}).derive(calls([many]))
    assert len(derived.tx) == PLACES  # of 300
    path = packed([(who(n % 250), 500) for n in range(301)])
    derived, _ = Patterns({(who(1), 0xE63D38ED): each}).derive(calls([(OTHER, who(1), bytes.fromhex("e63d38ed") + path)]))
    assert len(derived.tx) == PLACES


def test_groups_do_not_grow_for_ever_and_empty_ones_do_not_hide_what_goes_for_any() -> None:
    patterns = Patterns()
    row = who(0), TOKEN, bytes.fromhex("12345678")
    for n in range(3):
        learn(patterns, calls([row]), [{(TOKEN, 2**200 + 600 * n + i): True for i in range(600)}], n)
    assert len(patterns) <= 1024
    newest = KeyPattern(Word("callee"), Word("const", 2**200 + 1799))
    assert newest in patterns.templates[TOKEN, 0x12345678]
    some = Patterns({(TOKEN, 0x12345678): {}, (None, 0x12345678): {newest: Stats()}})
    assert len(some.derive(calls([row]))[0].tx) == 1
    learn(some, calls([row]), [{}])
    assert (TOKEN, 0x12345678) not in some.templates


@pytest.mark.parametrize(("pattern", "told"), [
    (KeyPattern(Word("word", -5), Word("const", 1)), "number in"),
    (KeyPattern(Word("nobody"), Word("const", 1)), "one of const"),
    (KeyPattern(Word("callee"), Word("const", 1), (Step("mapping", Word("sender")),) * 4), "at most 3 steps"),
    (KeyPattern(Word("callee"), Word("const", 1), (Step("list", Word("sender")),)), "each of mapping"),
    (KeyPattern(Word("callee"), "wealth"), "start of a pattern = 'wealth': must be one of balances, allowances"),
])  # fmt: skip
def test_patterns_that_cannot_be_are_refused(pattern: KeyPattern, told: str) -> None:
    with pytest.raises(BlockError, match=told):
        Patterns({(TOKEN, 5): {pattern: Stats()}}).derive(calls([(who(0), TOKEN, bytes(3) + b"\5")]))
    patterns = Patterns({(TOKEN, 5): {KeyPattern(Word("callee"), "balances"): Stats()}}, {b"short": {}})
    with pytest.raises(BlockError, match="layouts, b'short': must be 20 bytes"):
        patterns.derive(calls([(who(0), TOKEN, bytes(3) + b"\5")]))
    for parts, told in (
        ({"layouts": {TOKEN: {"balances": {-1: 1}}}}, f"layouts, 0x{TOKEN.hex()}, balances = -1: must be in"),
        ({"layouts": {TOKEN: {"balances": {2**256: 1}}}}, "balances = 1157.*: must be in"),
        ({"layouts": {OTHER: {"owners": {0.5: 1}}}}, "owners = 0.5: must be an integer"),
        ({"usual": {"operators": -7}}, "usual, operators = -7: must be in"), ({"layouts": {5: {}}}, "layouts, 5: must be 20"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=told):
            Patterns(patterns.templates, **parts).derive(calls([(who(0), TOKEN, bytes(3) + b"\5")]))


def test_blocks_without_calls_and_what_does_not_belong_together() -> None:
    empty = pn.Block.from_programs([])
    creations = pn.Block.from_programs([[("NOOP", 1)]], meta={"to": [None], "input": [b"\x60"]})
    patterns = built_in_patterns()
    for block in (creations, pn.generate_evm("erc20", n_tx=0)):
        assert not any(predicted_storage(block, patterns))
        learn_block(patterns, block, pn.execute(block, "serial").observed)
    assert calls_of(creations).creates.all()
    assert calls_of(empty).n_tx == 0
    with pytest.raises(BlockError, match="access of 1 transactions: the block has 3"):
        learn_block(patterns, block_of(["transfer"] * 3), pn.access_sets(block_of(["transfer"])))
    with pytest.raises(BlockError, match="access"):
        learn_block(patterns, creations, None)  # type: ignore[arg-type]  # the point of the test


def test_touched_storage_of_other_calls_is_refused_and_nothing_is_learned() -> None:
    patterns, made = Patterns(), [token_call(who(2 * n), who(2 * n + 1)) for n in range(3)]
    rows, touched = calls([row for row, _ in made]), [one for _, one in made]
    for some in ([], touched[:2], [*touched, {}]):
        with pytest.raises(BlockError, match=f"touched has {len(some)} entries: must be 3, one a call"):
            learn(patterns, rows, some)
    block, few = pn.generate_evm("erc20", n_tx=4, seed=1), pn.generate_evm("erc20", n_tx=2, seed=1)
    access = pn.execute(few, "serial").observed
    for call in (
        lambda: touched_storage(block, access), lambda: learn_block(patterns, block, access),
        lambda: next(time_series([(block, access)], patterns)),
    ):  # fmt: skip
        with pytest.raises(BlockError, match="access of 2 transactions: the block has 4"):
            call()
    assert patterns == Patterns()  # nor was anybody asked
    for call, told in (
        (lambda: touched_storage(few, None), "access = None: must be an AccessSets"),  # type: ignore[arg-type]  # the point of the test
        (lambda: next(time_series([(few, access)], None)), "patterns = None: must be a Patterns"),  # type: ignore[arg-type]  # the point of the test
        (lambda: explained_slots(few, 2, [2**70]), r"tx = 2: must be in \[0, 1\]"),
        (lambda: explained_slots(few, -1, []), r"tx = -1: must be in \[0, 1\]"),
        (lambda: explained_slots(few, 0, [5, 2**256]), r"slots\[1\] = 1157\d+: must be in"),
        (lambda: explained_slots(few, 0, 5), "slots = 5: must be a list of slots"),  # type: ignore[arg-type]  # the point of the test
    ):  # fmt: skip
        with pytest.raises(BlockError, match=told):
            call()


# -------------------------------------------------------------------- asking


def test_tokens_that_nobody_called_are_asked_for_their_layout() -> None:
    block = pn.generate_evm("erc20", n_tx=20, seed=1, world=5, n_tokens=3, n_pools=1)
    patterns = Patterns()
    assert ask_layouts(patterns, block) == 3
    layouts = {token.address: (token.balances, token.allowances) for token in Contracts(5, 3, 1, 1).tokens}
    for address, (balances, allowances) in layouts.items():
        assert (patterns.base(address, "balances"), patterns.base(address, "allowances")) == (balances, allowances)
    assert ask_layouts(patterns, block) == 0  # each once
    assert layouts.keys() <= patterns.asked
    collections = pn.generate_evm("erc721", n_tx=20, seed=1, world=5, n_collections=2)
    assert ask_layouts(patterns, collections) == 2
    for one in Contracts(5, 1, 1, 2).collections:
        assert patterns.base(one.address, "owners") == one.owners
        assert patterns.base(one.address, "operators") == one.operators


def test_views_that_revert_tell_nothing_but_of_owners() -> None:
    """For a token that is not there they look at its owner first, whatever they were asked."""
    reverts = bytes.fromhex("600435" "5f52" "6005602052" "60405f20" "54" "50" "5f5ffd")  # loads an entry of slot 5
    state = {who(0): (10**18, 0, b"", {}), TOKEN: (0, 1, reverts, {})}
    tx = Transaction(gas_price=9, gas_limit=50_000, to=TOKEN, sender=who(0))
    block = pn.EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7), [tx], state)
    patterns = Patterns()
    assert ask_layouts(patterns, block) == 1
    assert patterns.layouts[TOKEN].keys() == {"owners"}
    assert patterns.base(TOKEN, "owners") == 5


def test_who_does_not_answer_is_left_out() -> None:
    spins, asks = bytes.fromhex("5b5f56"), bytes.fromhex("60014340" "50" "5f54")  # for ever; for a hash that nobody knows
    state = {who(0): (10**18, 0, b"", {}), TOKEN: (0, 1, spins, {}), OTHER: (0, 1, asks, {})}
    txs = [Transaction(gas_price=9, gas_limit=50_000, to=to, sender=who(0), nonce=n) for n, to in enumerate((TOKEN, OTHER))]
    block = pn.EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7), txs, state)
    patterns = Patterns()
    assert ask_layouts(patterns, block) == 0
    assert not patterns.layouts
    assert patterns.asked == {TOKEN, OTHER}


def test_nobody_is_asked_for_a_creation() -> None:
    """It calls nobody: the address of zeros, which may be anybody's where the state is elsewhere, has not been named."""
    store = pn.MemoryStore()
    pn.put_world(store, {who(0): (10**18, 0, b"", {})})
    env = BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7)
    made = Transaction(gas_price=9, gas_limit=90_000, to=None, data=b"\x00", sender=who(0))
    patterns = Patterns()
    ask_layouts(patterns, pn.EvmBlock(env, [made], {}, source=StoreSource(store)))
    assert not patterns.asked


# -------------------------------------------------------------------- built in, and JSON


def test_a_transfer_of_a_token_that_is_well_known() -> None:
    sender, to = who(1), who(2)
    derived, _ = built_in_patterns().derive(calls([(sender, USDC, bytes.fromhex("a9059cbb") + word(to) + word(7))]))
    assert {int.from_bytes(one.tobytes(), "big") for one in derived.slot} == {entry(sender, 9), entry(to, 9)}
    derived, _ = built_in_patterns().derive(calls([(sender, OTHER, bytes.fromhex("095ea7b3") + word(to) + word(7))]))
    assert [int.from_bytes(one.tobytes(), "big") for one in derived.slot] == [entry(to, entry(sender, 1))]


def test_patterns_come_back_from_json() -> None:
    patterns = built_in_patterns()
    for n in range(4):
        made = [token_call(who(2 * n), who(2 * n + 1), kind) for kind in ("transfer", "approve", "vyper", "record")]
        learn(patterns, calls([row for row, _ in made]), [touched for _, touched in made])
    again = patterns_from_json(json.loads(json.dumps(patterns_to_json(patterns))))
    assert again == patterns
    row, _ = token_call(who(100), who(101))
    assert score(again, calls([row]), 9).chance.tolist() == score(patterns, calls([row]), 9).chance.tolist()


#: A pattern as JSON has it.
KEY: dict[str, Any] = {
    "address": ["callee", 0], "start": ["const", "0x5"], "steps": [], "offset": 0, "hits": 0, "writes": 0, "calls": 1,
    "recent": 0.5,
}  # fmt: skip
#: What patterns have in common, how many were right and wrong.
ALIKE: list[Any] = ["mapping", "callee", 1, False, False, 2.5, 0.5]
A20 = "0x" + "ab" * 20
WRONG: list[tuple[Any, str]] = [
    (5, "version = 5"), ({"version": 1}, "version = 1: must be 2"), ({"version": 2}, "templates = None: must be a list"),
    ({"templates": [{"selector": "x"}]}, r"templates\[0\].selector = 'x': must be hexadecimal"),
    ({"templates": [{"selector": 1, "contract": "0x1"}]}, r"contract = '0x1': must be 20 bytes"),
    ({"templates": [{"selector": 1, "keys": [{}]}]}, r"keys\[0\] = \[\]: must have address"),
    ({"touched": [[1, 2]]}, r"touched\[0\] = \[1, 2\]: must be a list of 4"),
    ({"usual": {"balances": -1}}, "usual.balances = -1"),
    ({"trust": {}}, "trust.mean = None: must be numbers"),
    ({"trust": {"mean": [0.0] * len(FEATURES), "precision": [[0.0] * len(FEATURES)] * len(FEATURES)}}, "positive definite"),
    ({"groups": [["0x1", 5, 0, 0, 0]]}, r"groups\[0\].contract = '0x1': must be 20 bytes"),
    ({"groups": [[None, 5, 2, 1, 0]]}, r"groups\[0\] = 2: must have at most as many hits as keys, 1"),
    ({"templates": [{"selector": 1, "keys": [KEY | {"hits": 2}]}]}, "at most as many hits as calls, 1"),
    ({"templates": [{"selector": 1, "keys": [KEY]}, {"selector": "0x1", "keys": []}]}, "must be there once"),
    ({"templates": [{"selector": 1, "keys": [KEY | {"hits": "0x" + "f" * 4000}]}]}, "must be an integer in"),
    ({"templates": [{"selector": 1, "keys": [KEY | {"hits": 10**5000}]}]}, "an integer of many digits"),
    ({"templates": [{"selector": 1, "keys": [KEY | {"address": ["each_pool", 3]}]}]}, r"must be an integer in \[0, 0x2\]"),
    ({"layouts": {"0x" + "11" * 20: {"balances": 5}}}, "balances = 5: must be an object"),
    ({"layouts": {"0x" + "11" * 20: {"balance": {}}}}, "= 'balance': must be one of balances"),
    ({"trust": {"mean": [10**400] * len(FEATURES)}}, "trust.mean = .*must be numbers"),
    ({"trust": {"mean": ["1"] * len(FEATURES)}}, "trust.mean = .*must be numbers"),
    ({"contracts": {"0x" + "11" * 20: -1}}, "must be an integer in"), ({"asked": [7]}, r"asked\[0\] = 7: must be 20 bytes"),
    *(({"templates": [{"selector": 1, "keys": [KEY | {"recent": share}]}]}, r"recent = .*: must be a number in \[0, 1\]")
      for share in (-0.1, 1.1, math.nan, True, "0x0", None, 10**400)),
    *(({"kinds": [one]}, told) for one, told in (
        (5, r"kinds\[0\] = 5: must be a list of 7"), (ALIKE[:6], "must be a list of 7"),
        (["nothing", *ALIKE[1:]], "must have one of constant, hash, role, mapping; const, callee,"),
        (["hash", [], *ALIKE[2:]], "must have one of"), ([*ALIKE[:3], 0, *ALIKE[4:]], "must have one of"),
        ([*ALIKE[:2], 4, *ALIKE[3:]], r"kinds\[0\] = 4: must be an integer in \[0, 0x3\]"),
        ([*ALIKE[:5], -1, 0], r"= -1: must be a number in \[0, "), ([*ALIKE[:6], math.inf], r"= inf: must be a number"),
    )),
    ({"kinds": [ALIKE, ALIKE]}, r"kinds\[1\] = .* must be there once"),
    # which would be taken for something else
    ({"version": True}, "version = True: must be 2"), ({"version": 2.0}, "version = 2.0: must be 2"),
    *(({"usual": {"balances": text}}, "balances = .*: must be hexadecimal") for text in (
        "-0x5", "0x_5", " 5 ", "5_0", "5", "0x", "0x5\n", "0x\uff15",
    )),
    *(({"asked": [text]}, r"asked\[0\] = .*must be 20 bytes") for text in (
        "11" * 20, "0x" + "11 " * 20, "0x" + "11" * 19, "0x" + "11" * 20 + "\n",
    )),
    ({"templates": [{"selector": 1, "keys": [KEY | {"calls": 3, "hits": 2, "writes": 4}]}]}, "= 4: must have at most one"),
    # which would lose what came first
    ({"touched": [[A20, "0x5", 1, 0], [A20, "0x05", 9, 0]]}, r"touched\[1\] = '0x05': must be there once"),
    ({"layouts": {A20: {"balances": {"0x5": 1, "0x05": 2}}}}, "balances = '0x05': must be there once"),
    ({"layouts": {A20: {}, A20.upper().replace("X", "x"): {}}}, "layouts.0xABAB.* must be there once"),
    ({"contracts": {A20: 1, A20.replace("ab", "Ab"): 1}}, "contracts.0xAbAb.* must be there once"),
    ({"asked": [A20, A20.upper()]}, r"asked\[1\] = '0XABAB.*: must be there once"),
    ({"groups": [[None, 5, 0, 1, 0], [None, "0x05", 0, 1, 0]]}, r"groups\[1\] = '0x05': must be there once"),
    ({"templates": [{"selector": 1, "keys": [KEY, KEY | {"calls": 2}]}]}, r"keys\[1\] = .*: must be there once"),
    # which no sum can be made of
    ({"touched": [[A20, 5, 2**63 - 1, 0]]}, r"touched\[0\] = 9223372036854775807: must be an integer in"),
    ({"layouts": {A20: {"balances": {"0x5": 2**53 + 1}}}}, "balances.0x5 = 9007199254740993: must be an integer in"),
    ({"trust": {"mean": [1e308] * len(FEATURES)}}, r"trust.mean = .*must be numbers, \d+, in \[-1e\+06, 1e\+06\]"),
    ({"trust": {"mean": [math.nan] * len(FEATURES)}}, "trust.mean = .*must be numbers"),
    *(({"trust": {"mean": [0.0] * len(FEATURES), "precision": its.tolist()}}, told) for its, told in (
        (np.eye(len(FEATURES)) * 1e308, "must be numbers"), (np.eye(len(FEATURES)) / 1e4, "below 0.001"),
        (np.ones((len(FEATURES),) * 2), "positive definite"),
        (np.eye(len(FEATURES)) + np.eye(len(FEATURES), k=1) / 4, "must be symmetric"), (-np.eye(len(FEATURES)), "positive"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_what_is_wrong_in_json_is_named(given: Any, told: str) -> None:
    if isinstance(given, dict) and "version" not in given:
        given = patterns_to_json(Patterns()) | given
    with pytest.raises(BlockError, match=told):
        patterns_from_json(given)


def test_the_largest_that_json_may_have_is_learned_from_and_comes_back() -> None:
    n, row = len(FEATURES), token_call(who(0), who(1))[0]
    keys = [KEY | {"hits": 2**53, "writes": 2**53, "calls": 2**53, "recent": 1}]
    for mean, precision in ((1e6, 1e15), (-1e6, 1e-3), (1e6, 1.0)):
        patterns = patterns_from_json(patterns_to_json(Patterns()) | {
            "trust": {"mean": [mean] * n, "precision": (np.eye(n) * precision).tolist()},
            "templates": [{"contract": None, "selector": "0x" + row[2][:4].hex(), "keys": keys}],
            "groups": [[None, "0x" + row[2][:4].hex(), 2**53, 2**53, 2**53]],
            "touched": [["0x" + TOKEN.hex(), "0x5", 2**53 - 1, 2**63 - 1]], "contracts": {"0x" + TOKEN.hex(): 2**63 - 1},
            "layouts": {"0x" + TOKEN.hex(): {"balances": {"0x" + "f" * 64: 2**53}}},
            "kinds": [["constant", "callee", 0, False, False, 2**53, 0]],
        })  # fmt: skip
        assert patterns_from_json(json.loads(json.dumps(patterns_to_json(patterns)))) == patterns
        for touched in ({(TOKEN, 5): True}, {(TOKEN, 6): True}):
            learn(patterns, calls([row]), [touched], 2**62)
            assert np.isfinite(score(patterns, calls([row]), 2**62).chance).all()
        assert np.isfinite(patterns.trust.mean).all()


def test_words_and_steps_in_json_are_checked() -> None:
    key = patterns_to_json(built_in_patterns())["templates"][0]["keys"][0]
    for field, value, told in (
        ("address", ["me", 0], "must be one of const, sender"), ("start", "wealth", "must be one of balances"),
        ("steps", [["hash", ["sender", 0]]], "must be one of mapping"),
        ("steps", [["mapping", ["sender", 0]]] * 4, "at most 3"), ("hits", -1, "hits = -1"),
        ("offset", "zz", "must be hexadecimal"), ("steps", 5, "must be a list"),
    ):  # fmt: skip
        template = {"contract": None, "selector": 1, "keys": [key | {field: value}]}
        wrong = patterns_to_json(Patterns()) | {"templates": [template]}
        with pytest.raises(BlockError, match=told):
            patterns_from_json(wrong)
