"""Access estimates, their parameters and their accuracy, against dict-based twins."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import access_dicts, blocks

from pevm_numba.access.oracles import ORACLES, access_sets, degrade
from pevm_numba.access.quality import accuracy
from pevm_numba.access.sets import AccessSets
from pevm_numba.access.view import account_ids, select
from pevm_numba.block import Block, Header
from pevm_numba.errors import BlockError
from pevm_numba.generate import generate
from pevm_numba.machine.ops import Field, Mode, Op
from pevm_numba.programs import access_lists_of

Sets = list[dict[int, Mode]]


def as_dicts(access: AccessSets) -> Sets:
    return [access[t] for t in range(access.n_tx)]


def ids_of(block: Block) -> dict[tuple[bytes, int, bytes], int]:
    return {block.key(k): k for k in range(block.n_keys)}


def joined(*parts: Sets) -> Sets:
    out: Sets = [{} for _ in parts[0]]
    for part in parts:
        for mine, other in zip(out, part):
            for key, mode in other.items():
                mine[key] = mine.get(key, Mode(0)) | mode
    return out


# -------------------------------------------------------------------- slow twins


def naive_static(block: Block) -> Sets:
    mode_of = {Op.SLOAD: Mode.READ, Op.TOUCH: Mode.READ, Op.SSTORE: Mode.WRITE, Op.CREDIT: Mode.CREDIT}
    ids = ids_of(block)
    return [
        joined(*[[{ids[op[1]]: mode_of[op[0]]}] for op in program if op[0] in mode_of], [{}])[0]
        for program in block.to_programs()
    ]


def naive_declared(block: Block) -> Sets:
    out: Sets = [{} for _ in range(block.n_tx)]
    for indptr, keys, mode in (
        (block.read_indptr, block.read_key, Mode.READ),
        (block.write_indptr, block.write_key, Mode.WRITE),
    ):
        for t in range(block.n_tx):
            for key in keys[indptr[t] : indptr[t + 1]]:
                out[t][int(key)] = out[t].get(int(key), Mode(0)) | mode
    return out


def naive_listed(block: Block) -> Sets:
    ids = ids_of(block)
    return [
        {ids[address, 0, slot]: Mode.READ | Mode.WRITE for address, slots in entries for slot in slots}
        for entries in access_lists_of(block)
    ]


def naive_select(sets: Sets, block: Block, fields: set[int] | None, granularity: str, fee: str) -> Sets:
    accounts: dict[bytes, int] = {}
    for k in range(block.n_keys):
        accounts.setdefault(block.key(k)[0], len(accounts))
    out: Sets = [{} for _ in sets]
    for t, entries in enumerate(sets):
        for k, mode in entries.items():
            address, field, _ = block.key(k)
            if fields is not None and field not in fields:
                continue
            if fee == "ignored" and (address, field) == (block.header.fee_recipient, Field.BALANCE):
                continue
            if fee == "plain" and mode & Mode.CREDIT:
                mode = mode & ~Mode.CREDIT | Mode.READ | Mode.WRITE
            name = accounts[address] if granularity == "account" else k
            out[t][name] = out[t].get(name, Mode(0)) | mode
    return out


def conflicts(a: int, b: int) -> bool:
    return not (a == b == Mode.READ or a == b == Mode.CREDIT)


def naive_pairs(sets: Sets) -> set[tuple[int, int]]:
    return {
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(sets), 2)
        if any(conflicts(a[k], b[k]) for k in a.keys() & b.keys())
    }


def naive_triples(sets: Sets) -> set[tuple[int, int, int]]:
    every = ((t, k, mode) for t, entries in enumerate(sets) for k, mode in entries.items())
    return {(t, k, int(bit)) for t, k, mode in every for bit in Mode if mode & bit}


# -------------------------------------------------------------------- oracles


@settings(max_examples=80, deadline=None)
@given(blocks())
def test_oracles_equal_their_twins(block):
    static, listed, declared = naive_static(block), naive_listed(block), naive_declared(block)
    assert as_dicts(access_sets(block)) == static
    assert as_dicts(access_sets(block, "eip2930")) == listed
    assert as_dicts(access_sets(block, "union")) == joined(static, listed, declared)
    if block.declares_reads.any() or block.declares_writes.any():
        assert as_dicts(access_sets(block, "declared")) == declared
    else:
        with pytest.raises(BlockError, match=r"no transaction of block .* declares"):
            access_sets(block, "declared")


@settings(max_examples=30, deadline=None)
@given(blocks())
def test_every_oracle_gives_sets_that_pass_the_door(block):
    for oracle in ORACLES[:-1]:  # observed: of an EVM block only
        if oracle == "declared" and not (block.declares_reads.any() or block.declares_writes.any()):
            continue
        sets = access_sets(block, oracle)
        assert sets == AccessSets.from_arrays(sets.n_keys, sets.indptr, sets.keys, sets.modes)
        assert not sets.keys.flags.writeable


def test_static_is_the_footprint_and_on_generated_blocks_what_is_declared():
    block = generate("small")
    sets = access_sets(block)
    assert np.array_equal(sets.keys, block.footprint_keys)
    assert np.array_equal(sets.modes, block.footprint_modes)
    assert access_sets(block, "declared") == sets
    assert access_sets(block, "union").n_accesses == sets.n_accesses


def test_transactions_with_many_keys_come_out_sorted():
    keys = [(1, 0, slot) for slot in range(200)]
    order = np.random.default_rng(3).permutation(200)
    block = Block.from_programs([[("TOUCH", k) for k in keys], [("TOUCH", keys[i]) for i in order]])
    account = access_sets(block, granularity="account")
    assert as_dicts(access_sets(block, "union")) == naive_static(block)
    assert as_dicts(degrade(access_sets(block), 0.1, 0.5)) == naive_degrade(naive_static(block), 200, 0.1, 0.5, 0)
    assert as_dicts(account) == [{0: Mode.READ}, {0: Mode.READ}]


# -------------------------------------------------------------------- degrading


def mix64(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def naive_degrade(sets: Sets, n_keys: int, miss: float, extra: float, seed: int) -> Sets:
    def bits(t: int, key: int, kind: int) -> int:
        start = mix64((seed + 0x9E3779B97F4A7C15 * (t + 1)) % 2**64)
        return mix64((start + 0x9E3779B97F4A7C15 * (4 * key + kind + 1)) % 2**64)

    out: Sets = []
    for t, entries in enumerate(sets):
        kept = {k: m for k, m in entries.items() if (bits(t, k, 0) >> 1) >= miss * 2**63}
        for k in entries:
            if (bits(t, k, 1) >> 1) < extra * 2**63:
                draw = bits(t, k, 2)
                other = (draw >> 32) * n_keys >> 32
                if other not in entries and other not in kept:
                    kept[other] = Mode.WRITE if draw & 1 else Mode.READ
        out.append(kept)
    return out


RATES = st.sampled_from([0.0, 1.0, 0.5, 0.25])


@settings(max_examples=100, deadline=None)
@given(access_dicts(), RATES, RATES, st.integers(0, 2**64 - 1))
def test_degrade_equals_its_twin(given_sets, miss, extra, seed):
    sets, n_keys = given_sets
    sets = [dict(sorted(entries.items())) for entries in sets]  # added keys may block one another: order counts
    access = AccessSets.from_dicts(sets, n_keys)
    assert as_dicts(degrade(access, miss, extra, seed)) == naive_degrade(sets, n_keys, miss, extra, seed)


def test_degrading_by_nothing_changes_nothing_and_by_everything_leaves_nothing():
    block = generate("small")
    static = access_sets(block)
    assert access_sets(block, "degraded") == static
    assert access_sets(block, "degraded", miss_rate=1).n_accesses == 0
    nothing_right = access_sets(block, "degraded", miss_rate=1.0, extra_rate=1.0)
    assert nothing_right.n_accesses > 0
    assert accuracy(nothing_right, static).precision == 0


def test_recall_falls_with_the_miss_rate_and_precision_with_the_extra_rate():
    block = generate("medium")
    truth = access_sets(block)
    rates = (0.0, 0.01, 0.1, 0.5, 0.9, 1.0)
    missing = [access_sets(block, "degraded", miss_rate=rate, seed=9) for rate in rates]
    recalls = [accuracy(sets, truth).recall for sets in missing]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] == 1
    assert recalls[-1] == 0
    assert all(abs(recall - (1 - rate)) < 0.05 for recall, rate in zip(recalls, rates))
    assert all(accuracy(sets, truth).precision == 1 for sets in missing)
    extra = [accuracy(degrade(truth, 0, rate, 9), truth) for rate in rates]
    precisions = [result.precision for result in extra]
    assert precisions == sorted(precisions, reverse=True)
    assert all(abs(precision - 1 / (1 + rate)) < 0.05 for precision, rate in zip(precisions, rates))
    assert all(result.recall == 1 for result in extra)


def test_another_seed_spoils_other_accesses():
    truth = access_sets(generate("small"))
    assert degrade(truth, 0.5, 0.5, 1) == degrade(truth, 0.5, 0.5, 1)
    assert degrade(truth, 0.5, 0.5, 1) != degrade(truth, 0.5, 0.5, 2)


# -------------------------------------------------------------------- which dependencies count


@settings(max_examples=80, deadline=None)
@given(
    blocks(),
    st.none() | st.sets(st.sampled_from(list(Field))),
    st.sampled_from(["slot", "account"]),
    st.sampled_from(["commutative", "plain", "ignored"]),
)
def test_select_equals_its_twin(block, fields, granularity, fee):
    access = access_sets(block)
    chosen = {"fields": fields, "granularity": granularity, "fee_recipient": fee}
    if fee == "ignored" and block.header.fee_recipient is None:
        with pytest.raises(BlockError, match="does not name its fee recipient"):
            select(access, block, **chosen)
        return
    result = select(access, block, **chosen)
    assert as_dicts(result) == naive_select(as_dicts(access), block, fields, granularity, fee)
    n_accounts = len({block.key(k)[0] for k in range(block.n_keys)})
    assert result.n_keys == (n_accounts if granularity == "account" else block.n_keys)
    assert access_sets(block, **chosen) == result


@settings(max_examples=40, deadline=None)
@given(blocks())
def test_a_coarser_view_keeps_every_conflict(block):
    fine = naive_pairs(as_dicts(access_sets(block)))
    assert fine <= naive_pairs(as_dicts(access_sets(block, granularity="account")))
    assert fine <= naive_pairs(as_dicts(access_sets(block, fee_recipient="plain")))
    assert fine >= naive_pairs(as_dicts(access_sets(block, fields=["storage", "code"])))


def test_fee_recipient_credits_conflict_only_if_plain():
    recipient = (7).to_bytes(20, "big")
    fee = (recipient, 1, bytes(32))
    other = (8, 1, 0)
    block = Block.from_programs(
        [[("CREDIT", fee, 1), ("CREDIT", other, 1)], [("CREDIT", fee, 2)], [("TOUCH", fee)], [("TOUCH", other)]],
        header=Header(fee_recipient=recipient),
    )
    for how, pairs in (
        ("commutative", {(0, 2), (1, 2), (0, 3)}),
        ("plain", {(0, 1), (0, 2), (1, 2), (0, 3)}),
        ("ignored", {(0, 3)}),
    ):
        assert naive_pairs(as_dicts(access_sets(block, fee_recipient=how))) == pairs


def test_field_names_numbers_and_members_mean_the_same():
    block = Block.from_programs([[("TOUCH", (1, field, 0)) for field in range(4)]])
    for name, field in (("storage", 0), ("balance", 1), ("nonce", 2), ("code", 3)):
        want = {k: Mode.READ for k in range(4) if block.key(k)[1] == field}
        assert access_sets(block, fields=name)[0] == want
        assert access_sets(block, fields=[field])[0] == want
        assert access_sets(block, fields={Field(field)})[0] == want
    assert access_sets(block, fields=[]).n_accesses == 0
    assert account_ids(block).tolist() == [0, 0, 0, 0]


# -------------------------------------------------------------------- accuracy


@settings(max_examples=150, deadline=None)
@given(access_dicts(), st.data())
def test_accuracy_equals_its_twin(given_sets, data):
    truth, n_keys = given_sets
    one = st.dictionaries(st.integers(0, n_keys - 1), st.integers(1, 7), max_size=n_keys)
    guess = data.draw(st.lists(one, min_size=len(truth), max_size=len(truth)))
    result = accuracy(AccessSets.from_dicts(guess, n_keys), AccessSets.from_dicts(truth, n_keys))

    def shares(a: set, b: set) -> tuple[float, float]:
        return (len(a & b) / len(a) if a else 1.0, len(a & b) / len(b) if b else 1.0)

    assert (result.precision, result.recall) == shares(naive_triples(guess), naive_triples(truth))
    assert (result.pair_precision, result.pair_recall) == shares(naive_pairs(guess), naive_pairs(truth))
    assert result.pairs_reason is None


def test_pair_figures_are_left_out_with_a_reason_where_one_key_makes_too_many():
    sets = access_sets(generate("full-conflicts"))
    assert accuracy(sets, sets).pair_recall == 1
    result = accuracy(sets, sets, max_pairs=1000)
    assert (result.precision, result.pair_precision, result.pair_recall) == (1, None, None)
    assert result.pairs_reason == "estimate has 499500 conflicting pairs, 499500 of them on key 0: more than 1000"


def test_an_empty_block_is_estimated_perfectly():
    block = Block.from_programs([])
    sets = access_sets(block)
    result = accuracy(sets, sets)
    assert (result.precision, result.recall, result.pair_precision, result.pair_recall) == (1, 1, 1, 1)
    assert access_sets(block, "degraded", miss_rate=0.5, extra_rate=0.5).n_tx == 0
    assert access_sets(block, granularity="account", fields=["storage"]).n_keys == 0


# -------------------------------------------------------------------- bad parameters


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"oracle": "crystal"}, r"oracle = 'crystal': must be one of static, declared, eip2930, union, degraded"),
        ({"oracle": "degraded", "miss_rate": 1.1}, r"miss_rate = 1.1: must be a number in \[0, 1\]"),
        ({"oracle": "degraded", "extra_rate": float("nan")}, r"extra_rate = nan"),
        ({"oracle": "degraded", "seed": -1}, r"seed = -1"),
        ({"miss_rate": 0.5}, r"miss_rate = 0.5, extra_rate = 0.0: only oracle 'degraded' takes them"),
        ({"fields": ["gas"]}, r"field 'gas' is unknown: one of storage, balance, nonce, code"),
        ({"fields": [4]}, r"field = 4: must be in \[0, 3\]"),
        ({"granularity": "page"}, r"granularity = 'page': must be one of slot, account"),
        ({"fee_recipient": "free"}, r"fee_recipient = 'free': must be one of commutative, plain, ignored"),
        ({"fee_recipient": "ignored"}, r"fee_recipient = 'ignored': block 0 does not name its fee recipient"),
    ],
    ids=str,
)
def test_a_bad_parameter_is_named_with_its_value_and_rule(parameters, text):
    with pytest.raises(BlockError, match=text):
        access_sets(generate("small"), **parameters)


def test_sets_of_another_block_are_refused():
    small, other = generate("small"), generate(n_tx=3)
    with pytest.raises(BlockError, match=r"access sets of 3 transactions and \d+ keys: must be of the block's 100"):
        select(access_sets(other), small)
    with pytest.raises(BlockError, match=r"estimate of 3 transactions"):
        accuracy(access_sets(other), access_sets(small))
