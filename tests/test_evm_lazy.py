"""A state that is elsewhere: what is fetched when it is first needed must make no difference, but in what is fetched."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from evm_peers import FORKS
from evm_programs import random_case
from test_evm_programs import environment, transaction

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.evm.engine import Engine
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.observation import observe, state_change
from pevm_numba.evm.outcomes import read_logs
from pevm_numba.evm.plans import serial_plan
from pevm_numba.evm.world import World

#: Programs of each fork.
SEEDS = 500 if os.environ.get("PEVM_NUMBA_SOAK") else 40


class Elsewhere:
    """A source that is never asked for the same thing twice, if it is strict: workers may ask for it at the same time."""

    def __init__(self, world: World, strict: bool = True) -> None:
        self.world, self.strict = world, strict
        self.asked = set[object]()
        self.lock = threading.Lock()

    def _once(self, what: object) -> None:
        with self.lock:
            assert not self.strict or what not in self.asked, what
            self.asked.add(what)

    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bytes] | None]:
        for address in addresses:
            self._once(address)
        return [self.world[address][:3] if address in self.world else None for address in addresses]

    def slots(self, keys: Sequence[tuple[bytes, int]]) -> list[int]:
        for key in keys:
            assert key[0] in self.world, "what does not exist has no slots"
            self._once(key)
        return [self.world[address][3].get(slot, 0) for address, slot in keys]

    def storage(self, address: bytes) -> Mapping[int, int]:
        self._once((address, "all"))
        return {slot: value for slot, value in self.world[address][3].items() if value}


@pytest.mark.skipif(DISABLED, reason="some programs take minutes in plain Python")
@pytest.mark.parametrize("fork", FORKS)
def test_random_programs_find_what_is_elsewhere(fork: str) -> None:
    fetched = np.zeros(3, np.int64)
    for seed in range(SEEDS):
        case = random_case(seed, fork)
        world = {a: (one.balance, one.nonce, one.code, one.storage) for a, one in case.pre.items()}
        env, txs = environment(case), [transaction(case)]
        here, away = Engine(env, txs, world, records=True), Engine(env, txs, {}, records=True, source=Elsewhere(world))
        for _ in range(2):  # the second time everything is there
            for engine in (here, away):
                engine.run(serial_plan(1))
            for name in ("success", "gas_used", "refusal"):
                assert here.records[name].tolist() == away.records[name].tolist(), (seed, name)
            assert read_logs(here.records[0]) == read_logs(away.records[0]), seed
            mine, theirs = observe(here), observe(away)
            assert mine.keys == theirs.keys, seed
            assert mine.modes.tolist() == theirs.modes.tolist(), seed
            assert np.array_equal(mine.before, theirs.before), seed
            left, right = here.state(), away.state()
            for address in right:
                assert right[address][:3] == left[address][:3], seed
                assert right[address].storage.items() <= left[address].storage.items(), seed
            ours, other = state_change(here), state_change(away)
            assert ours.keys == other.keys, seed
            assert np.array_equal(ours.words, other.words), seed
            assert ours.codes == other.codes, seed
        assert away.fetched is not None
        fetched += away.fetched.fetches[:3]
    assert fetched[:2].min() > 10
    assert SEEDS < 500 or fetched[2] > 0 or Fork[fork] >= Fork.CANCUN
