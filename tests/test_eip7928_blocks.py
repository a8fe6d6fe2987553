"""Block access lists of real blocks: the same by every machine and executor, enough to make the state without running them,
and refused where a single entry is wrong."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from evm_corpus import CORPUS, blocks, numbers, serial

import pevm_numba as pn
from pevm_numba._kernels.evm.memory import CHECKED
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.eip7928_build import changes_of_evm
from pevm_numba.access.eip7928_compare import check_reach, differences
from pevm_numba.access.eip7928_rules import ITEM_COST, Rule, RuleError
from pevm_numba.bench.access import dependency_rows
from pevm_numba.errors import AccessListError
from pevm_numba.evm.forks import Fork
from pevm_numba.io.access_lists import block_list_json, block_list_of

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("always_parallel")]


def exchangeable(number: int) -> bool:
    """Up to Spurious Dragon, which removes them one by one, an account may exist and be empty, which no list tells."""
    return blocks()[number].env.fork >= Fork.BYZANTIUM


@pytest.mark.parametrize("number", numbers())
def test_a_list_leads_from_the_state_before_to_that_after(number: int) -> None:
    """What a client that syncs without executing does."""
    listed, done = serial(number).eip7928_list(), serial(number)
    state: dict[bytes, list[Any]] = {}
    for address, (balance, nonce, code, storage) in blocks()[number].state.items():
        state[address] = [balance, nonce, code, dict(storage)]
    for one in listed:
        mine = state.setdefault(one.address, [0, 0, b"", {}])
        for place, changes in enumerate((one.balance_changes, one.nonce_changes, one.code_changes)):
            if changes:
                mine[place] = changes[-1][1]
        for slot, changes in one.storage_changes:
            mine[3][slot] = changes[-1][1]
    found = {}
    for address, (balance, nonce, code, storage) in state.items():
        kept = {slot: value for slot, value in storage.items() if value}
        if balance or nonce or code or kept:
            found[address] = (balance, nonce, code, kept)
    wanted = {address: tuple(account) for address, account in done.state.items() if any(account)}
    assert found == wanted
    listed.check(n_tx=blocks()[number].n_tx)
    assert Eip7928List.decode(listed.encode()) == listed
    assert block_list_of(block_list_json(listed)) == listed


@pytest.mark.parametrize("number", numbers())
def test_every_change_of_a_transaction_is_one_of_its_index(number: int) -> None:
    listed, changes = serial(number).eip7928_list(), serial(number).block_access_list()
    found = changes_of_evm(listed, blocks()[number].n_tx)
    for t in range(blocks()[number].n_tx):
        mine, theirs = (
            {one.keys[k]: one.values[i].tobytes() for i, k in one.entries(t)} for one in (changes, found)
        )
        if exchangeable(number):
            assert mine == theirs
        else:
            assert theirs.items() <= mine.items()


@pytest.mark.parametrize("number", numbers())
def test_the_trace_of_another_machine_gives_the_same_list(number: int) -> None:
    """Micro-op blocks are made from what py-evm was seen to do. It books a store that runs out of gas as no access, and the
    protocol's calls are no part of a trace's transactions."""
    trace = pn.read_block(CORPUS / "op_trace", number)
    codes = serial(number).accesses.codes
    done = pn.execute(trace, "serial", record="changes")
    found = list(differences(done.eip7928_list(codes), serial(number).eip7928_list()))
    protocol = bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02")
    rest = [one for one in found if one.address != protocol and (one.kind, one.what) != ("missing", "read")]
    assert rest == []
    assert sum(one.what == "read" for one in found) <= 4
    assert all(one.change_index in (None, 0) for one in found if one.address == protocol)


@pytest.mark.parametrize("number", numbers())
def test_a_block_runs_from_the_list_that_has_come_over_the_wire(number: int) -> None:
    """That every executor leads to the same list is what `check_equal` looks at."""
    listed = Eip7928List.decode(serial(number).eip7928_list().encode())
    if exchangeable(number):
        done = pn.execute(blocks()[number], "bal", access_list=listed, workers=2)
        assert done.counters["workers"] == 2
        done.check_equal(serial(number))
    else:
        with pytest.raises(AccessListError, match=f"access_list of a block of {blocks()[number].fork}: .* before Byzantium"):
            pn.execute(blocks()[number], "bal", access_list=listed)
        mine = serial(number).block_access_list()  # which tells of accounts that are there and empty
        pn.execute(blocks()[number], "bal", access_list=mine, workers=2).check_equal(serial(number))


@pytest.mark.parametrize("number", [number for number in numbers() if number >= 12_244_000])  # Berlin prices first reads so
def test_reads_out_of_reach_are_told_early_and_never_in_a_right_list(number: int) -> None:
    done, limit = serial(number), blocks()[number].env.gas_limit
    listed = done.eip7928_list()
    used = int(done.gas_used.sum())
    check_reach(listed, done.accesses, done.gas_used, used)  # even if the block has no more gas than it uses
    room = (limit - used) // ITEM_COST
    more = [AccountChanges(bytes([1] * 18) + n.to_bytes(2, "big"), (), tuple(range(1000))) for n in range(room // 1000 + 2)]
    rest = {one.address: one for one in [*listed, *more]}
    padded = Eip7928List.from_accounts([rest[address] for address in sorted(rest)])
    with pytest.raises(RuleError, match=r"reads to come after \d+ transactions") as caught:
        check_reach(padded, done.accesses, done.gas_used, limit)
    assert caught.value.rule is Rule.READS_OUT_OF_REACH
    # what no transaction reads the protocol does, and needs no gas for it
    nobody = done.accesses.raw._replace(
        notes=[one[:0] for one in done.accesses.raw.notes], cells=[one[:0] for one in done.accesses.raw.cells]
    )
    check_reach(listed, done.accesses._replace(raw=nobody), 0 * done.gas_used, 0)


def variants(listed: list[AccountChanges], draw: random.Random) -> Iterator[list[AccountChanges]]:
    """The list with one entry dropped, changed or added: entries of each kind, drawn at random."""

    def put(a: int, **fields: Any) -> list[AccountChanges]:
        return [*listed[:a], listed[a]._replace(**fields), *listed[a + 1 :]]

    def some(n: int) -> list[int]:
        return draw.sample(range(n), min(n, 1))

    empty = [a for a, one in enumerate(listed) if not any(one[1:])]
    for a in draw.sample(empty, min(2, len(empty))):
        yield [*listed[:a], *listed[a + 1 :]]
    stranger = bytes(draw.randrange(256) for _ in range(20))
    yield sorted([*listed, AccountChanges(stranger)])
    with_slots = [a for a, one in enumerate(listed) if one.storage_changes]
    for a in draw.sample(with_slots, min(2, len(with_slots))):
        slots = listed[a].storage_changes
        s = draw.randrange(len(slots))
        slot, changes = slots[s]
        rest = slots[:s], slots[s + 1 :]
        i = draw.randrange(len(changes))
        without = (*changes[:i], *changes[i + 1 :])
        dropped = ((slot, without),) if without else ()
        yield put(a, storage_changes=(*rest[0], *dropped, *rest[1]))
        other = (*changes[:i], (changes[i][0], changes[i][1] ^ 1), *changes[i + 1 :])
        yield put(a, storage_changes=(*rest[0], (slot, other), *rest[1]))
        reads = tuple(sorted((*listed[a].storage_reads, slot)))
        yield put(a, storage_changes=(*rest[0], *rest[1]), storage_reads=reads)
    with_reads = [a for a, one in enumerate(listed) if one.storage_reads]
    for a in draw.sample(with_reads, min(2, len(with_reads))):
        reads, r = listed[a].storage_reads, draw.randrange(len(listed[a].storage_reads))
        yield put(a, storage_reads=(*reads[:r], *reads[r + 1 :]))
        yield put(a, storage_reads=tuple(sorted((*reads, draw.randrange(2**255)))))
    for name in ("balance_changes", "nonce_changes", "code_changes"):
        having = [a for a, one in enumerate(listed) if getattr(one, name)]
        for a in draw.sample(having, min(2, len(having))):
            pairs = getattr(listed[a], name)
            i = draw.randrange(len(pairs))
            index, value = pairs[i]
            yield put(a, **{name: (*pairs[:i], *pairs[i + 1 :])})
            changed = value + b"\0" if isinstance(value, bytes) else value ^ 1
            yield put(a, **{name: (*pairs[:i], (index, changed), *pairs[i + 1 :])})
    a = draw.randrange(len(listed))
    last = max((index for index, _ in listed[a].balance_changes), default=0)
    yield put(a, balance_changes=(*listed[a].balance_changes, (last + 1, 5)))


def sample() -> list[int]:
    """Blocks of each fork that lists can tell of; where every access is checked, which takes twenty times as long, two."""
    found: dict[str, list[int]] = {}
    for number in numbers():
        if exchangeable(number) and 1 <= blocks()[number].n_tx <= 200:
            found.setdefault(blocks()[number].fork, []).append(number)
    if CHECKED:
        return sorted((fork[0] for fork in found.values()), key=lambda number: blocks()[number].env.gas_used)[:2]
    return [number for fork in found.values() for number in fork[: 3 if os.environ.get("PEVM_NUMBA_SOAK") else 1]]


def test_true_chains_are_within_the_bounds_of_a_list() -> None:
    """What tests/test_access_lists.py shows of single pairs, of real blocks; `dependency_rows` raises where it is not so."""
    for number in sample():
        rows = dependency_rows(blocks()[number], serial(number))
        path = {(row["fields"], row["edges"], row["sets"]): row["path"] for row in rows}
        assert path["all", "all", "everybody"] == serial(number).gas_used.sum()
        assert path["all", "all", "nobody"] == path["all", "all", "writer"]


@pytest.mark.parametrize("kind", ["evm", "micro-ops"])
def test_a_list_with_one_entry_wrong_is_refused(kind: str) -> None:
    tried = 0
    for number in sample():
        draw = random.Random(number)
        if kind == "evm":
            block: Any = blocks()[number]
            right = serial(number).eip7928_list()
        else:
            block = pn.read_block(CORPUS / "op_trace", number)
            right = pn.execute(block, "serial", record="changes").eip7928_list(serial(number).accesses.codes)
        pn.execute(block, "bal", access_list=right)
        for wrong in variants(list(right), draw):
            made = Eip7928List.from_accounts(wrong)
            assert made != right
            with pytest.raises(AccessListError):
                pn.execute(block, "bal", access_list=made, workers=2)
            tried += 1
    assert tried > (20 if CHECKED else 100)
