"""Hypothesis strategies for the whole suite; gas limits lie *around* real costs, or few would bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from pevm_numba.block import Block, Header
from pevm_numba.machine import spec
from pevm_numba.machine.gas import GasItem, gas_schedule
from pevm_numba.machine.ops import MAX_STACK

#: Words at which carries, borrows and signs go wrong.
EDGE_WORDS = (0, 1, 2, 2**64 - 1, 2**64, 2**128, 2**255, 2**256 - 2, 2**256 - 1)
_FREE_LIMIT = 2**40

Key = tuple[bytes, int, bytes]


def words() -> st.SearchStrategy[int]:
    """256-bit values: mostly small or at an edge, so that stores restore, clear and collide."""
    return st.sampled_from([0, 0, 1, 2]) | st.sampled_from(EDGE_WORDS) | st.integers(0, 2**256 - 1)


def address(n: int) -> bytes:
    """Address number n."""
    return n.to_bytes(20, "big")


def pool(max_keys: int) -> list[Key]:
    """Up to max_keys keys of all fields over few accounts: two storage slots an account, then the other fields."""
    keys = []
    for i in range(max_keys):
        account, part = divmod(i, 5)
        keys.append((address(1 + account), (0, 1, 0, 2, 3)[part], (7 if part == 2 else 0).to_bytes(32, "big")))
    return keys


@st.composite
def programs(draw: st.DrawFn, keys: Sequence[Key], max_ops: int = 8, *, deep: bool = True) -> list[tuple[Any, ...]]:
    """A program over `keys`: all nine ops; stack underflow is rare, overflow (if `deep`) rarer still."""
    any_key = st.sampled_from(keys)
    balances = [key for key in keys if key[1] == 1]
    names = ["SLOAD", "SSTORE", "SSTORE", "STORE_TOP", "ADD", "SUB", "KECCAK", "NOOP", "TOUCH", "BURN"]
    if balances:
        names.append("CREDIT")
    program: list[tuple[Any, ...]] = []
    depth = 0
    if deep and draw(st.integers(0, 30)) == 17:  # not an end of the range, which Hypothesis favours
        pushes = MAX_STACK + draw(st.sampled_from([1, 0, -1, 2]))
        program += [("SLOAD", draw(any_key))] * pushes
        depth = pushes
    careful = draw(st.integers(0, 9)) > 0
    for name in draw(st.lists(st.sampled_from(names), min_size=draw(st.integers(0, max_ops)), max_size=max_ops)):
        if careful and depth == 0 and name in ("ADD", "SUB", "STORE_TOP"):
            name = "SLOAD"
        program.append(_op(draw, name, any_key, balances))
        depth += {"SLOAD": 1, "KECCAK": 1, "STORE_TOP": -1}.get(name, 0)
    return program


def _op(draw: st.DrawFn, name: str, any_key: st.SearchStrategy[Key], balances: Sequence[Key]) -> tuple[Any, ...]:
    match name:
        case "SLOAD" | "TOUCH":
            return name, draw(any_key)
        case "SSTORE":
            return name, draw(any_key), draw(words())
        case "STORE_TOP":
            return "SSTORE", draw(any_key), "TOP"
        case "CREDIT":
            return name, draw(st.sampled_from(balances)), draw(words())
        case "ADD" | "SUB":
            return name, draw(words())
        case "KECCAK":
            return name, draw(st.binary(max_size=70) | st.sampled_from([135, 136, 137, 300]).map(bytes))
        case "NOOP":
            return name, draw(st.integers(0, 40) | st.just(1000))
        case _:
            return name, draw(st.integers(0, 5000) | st.just(2**31 - 1))


def access_lists(keys: Sequence[Key]) -> st.SearchStrategy[list[tuple[bytes, list[bytes]]]]:
    """EIP-2930 lists over the accounts of `keys`, duplicates and empty entries included."""
    slots = st.sampled_from([bytes(32), (7).to_bytes(32, "big"), (9).to_bytes(32, "big")])
    accounts = st.sampled_from(sorted({key[0] for key in keys}))
    return st.just([]) | st.lists(st.tuples(accounts, st.lists(slots, max_size=3)), max_size=3)


def prefix_costs(
    program: Sequence[Sequence[Any]],
    state: Mapping[Any, int],
    access_list: Sequence[tuple[Any, Sequence[Any]]],
    fork: str,
) -> list[int]:
    """Gas spent before the first op and after each op of a program with all the gas it wants, up to where it fails."""
    prices = gas_schedule(fork)
    warm = {(who, 0, slot) for who, slots in access_list for slot in slots}
    run = spec._Run(dict(state), _FREE_LIMIT, warm, prices)
    run.charge(spec.intrinsic_gas(prices, access_list))
    costs = [_FREE_LIMIT - run.gas_left]
    for op in program:
        try:
            run.step(op)
        except spec._Failed:
            break
        costs.append(_FREE_LIMIT - run.gas_left)
    return costs


def gas_limits(costs: Sequence[int], fork: str) -> st.SearchStrategy[int]:
    """Limits that are plenty, exact, one short at any op, or at the sentry of any op."""
    sentry = max(0, gas_schedule(fork)[GasItem.SENTRY])
    near = st.builds(
        lambda cost, extra, off: max(0, cost + extra + off),
        st.sampled_from(costs), st.sampled_from([0, 0, sentry]), st.integers(-1, 1),
    )  # fmt: skip
    return st.just(2**24) | st.just(costs[-1]) | near | st.integers(0, costs[-1] + 3000)


@st.composite
def blocks(
    draw: st.DrawFn,
    max_tx: int = 8,
    max_keys: int = 10,
    max_ops: int = 8,
    *,
    forks: Sequence[str] = ("london", "berlin", "free"),
    declared: bool = True,
    deep: bool = True,
    failures: bool = True,
) -> Block:
    """A small block of random programs over few keys, made by `Block.from_programs`.

    With `failures` off, limits never bind, no stack underflows or overflows, and every transaction succeeds.
    """
    keys = pool(draw(st.integers(1, max_keys)))
    fork = draw(st.sampled_from(list(forks)))
    n_tx = draw(st.integers(0, max_tx))
    state = draw(st.dictionaries(st.sampled_from(keys), words(), max_size=len(keys)))
    now = dict(state)
    code, lists, limits = [], [], []
    for _ in range(n_tx):
        program = draw(programs(keys, max_ops, deep=deep and failures))
        listed = draw(access_lists(keys))
        costs = prefix_costs(program, now, listed, fork)
        if not failures:
            program = program[: len(costs) - 1]
        limits.append(draw(gas_limits(costs, fork)) if failures else 2**24 + costs[-1])
        spec.run_transaction(program, now, limits[-1], listed, fork)
        code.append(program)
        lists.append(listed)
    senders = draw(st.none() | st.lists(st.integers(1, 3), min_size=n_tx, max_size=n_tx))
    return Block.from_programs(
        code,
        state,
        senders=senders,
        nonces=draw(st.none() | st.lists(st.integers(0, 2), min_size=n_tx, max_size=n_tx)),
        gas_limits=limits,
        access_lists=lists,
        declared_reads=draw(_declared(keys, n_tx)) if declared else None,
        declared_writes=draw(_declared(keys, n_tx)) if declared else None,
        number=draw(st.sampled_from([0, 1, 2**64 - 1])),
        fork=fork,
        header=draw(headers()),
    )


def _declared(keys: Sequence[Key], n_tx: int) -> st.SearchStrategy[list[list[Key] | None] | None]:
    one = st.none() | st.lists(st.sampled_from(keys), max_size=4)
    return st.none() | st.lists(one, min_size=n_tx, max_size=n_tx)


def headers() -> st.SearchStrategy[Header]:
    """Block headers with any part left out; the fee recipient is an account of `pool`, if given."""
    number = st.none() | st.integers(0, 2**64 - 1)
    return st.builds(
        Header,
        fee_recipient=st.none() | st.just(address(1)),
        block_gas_limit=number,
        timestamp=number,
        parent_hash=st.none() | st.binary(min_size=32, max_size=32),
    )


def access_dicts(max_tx: int = 8, max_keys: int = 6) -> st.SearchStrategy[tuple[list[dict[int, int]], int]]:
    """Access sets as ([{key: mode bits}, ...], n_keys), the form that `AccessSets.from_dicts` takes."""

    def sets(n_keys: int) -> st.SearchStrategy[tuple[list[dict[int, int]], int]]:
        one = st.dictionaries(st.integers(0, n_keys - 1), st.integers(1, 7), max_size=n_keys)
        return st.tuples(st.lists(one, max_size=max_tx), st.just(n_keys))

    return st.integers(1, max_keys).flatmap(sets)
