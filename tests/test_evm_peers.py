"""The independent EVMs agree with each other on random programs: adapters and generator are right before ours is compared."""

from __future__ import annotations

import pytest

pytest.importorskip("pyrevm", reason="pyrevm is not installed")
pytest.importorskip("eth_keys", reason="py-evm is not installed")

from evm_peers import run_pyevm, run_pyrevm
from evm_programs import random_case

FORKS = ("BERLIN", "LONDON", "PARIS", "SHANGHAI", "CANCUN")


@pytest.mark.parametrize("fork", FORKS)
def test_peers_agree_on_success_gas_output_logs_and_state(fork: str) -> None:
    succeeded = 0
    for seed in range(60):
        case = random_case(seed, fork)
        one, two = run_pyrevm(case), run_pyevm(case)
        assert (one.success, one.gas_used) == (two.success, two.gas_used), seed
        if case.tx["to"] is not None:
            assert one.output == two.output, seed
        succeeded += one.success
    assert succeeded > 10
    assert random_case(3, fork) == random_case(3, fork)


@pytest.mark.parametrize("fork", ["FRONTIER", "HOMESTEAD", "TANGERINE", "SPURIOUS", "BYZANTIUM", "PETERSBURG", "ISTANBUL"])
def test_py_evm_runs_programs_of_old_forks(fork: str) -> None:
    outcomes = [run_pyevm(random_case(seed, fork)) for seed in range(20)]
    assert any(outcome.success for outcome in outcomes)  # refunds give back up to half of the least price
    assert all(outcome.gas_used >= 10_500 for outcome in outcomes)
