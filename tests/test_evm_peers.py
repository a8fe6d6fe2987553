"""The peers agree with each other: this checks the adapters and the generator, before anything of the package is compared.

No difference of rules between pyrevm 0.3.7 and py-evm 0.12.1b1 is known, on any fork from Frontier to Cancun; what pyrevm
cannot be asked at all is in `evm_peers` and `pyrevm_limit`. Tests are skipped where a peer is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from evm_peers import (
    FORKS,
    Account,
    Case,
    CaseRejected,
    Outcome,
    PeerLimit,
    block_hash,
    differences,
    executed_opcodes,
    from_fork,
    intrinsic_gas,
    missing,
    pyrevm_limit,
    run_pyevm,
    run_pyrevm,
)
from evm_programs import (
    ABSENT,
    COLLECTOR,
    CONTRACTS,
    HEAVY,
    OPCODES,
    SENDER,
    assemble,
    hostile_cases,
    opcode_coverage,
    opcodes_of,
    random_case,
    static_opcodes,
)

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")

SEEDS = 45

Run = Callable[[Case], Outcome]


def compare(case: Case) -> tuple[list[str], str | None]:
    """Differences that stand, and why those of a case do not."""
    found = differences(case, run_pyrevm(case), run_pyevm(case))
    limit = pyrevm_limit(case) if found else None
    return ([], limit) if limit else (found, None)


def simple(fork: str, *parts: int | str | bytes, **tx: object) -> Case:
    """A transaction to one contract, with a gas price of 3 and, from London on, a base fee of 2."""
    london, cancun = from_fork(fork, "LONDON"), from_fork(fork, "CANCUN")
    env = {
        "number": 300,
        "timestamp": 9,
        "fee_recipient": COLLECTOR,
        "gas_limit": 30_000_000,
        "base_fee": 2 if london else None,
        "difficulty": 11,
        "prev_randao": 12,
        "chain_id": 1,
        "excess_blob_gas": 0 if cancun else None,
    }
    pre = {SENDER: Account(10**18, 4), CONTRACTS[0]: Account(10, 1, assemble(fork, *parts), {1: 2})}
    plain = {"sender": SENDER, "to": CONTRACTS[0], "nonce": 4, "gas_limit": 200_000, "gas_price": 3, "value": 0, "data": b""}
    return Case(fork, env, pre, {**plain, "access_list": (), **tx})


@pytest.mark.parametrize("fork", FORKS)
def test_peers_agree_on_random_cases(fork: str) -> None:
    limited = 0
    for seed in range(SEEDS if from_fork(fork, "SPURIOUS") else SEEDS // 3):
        case = random_case(seed, fork)
        found, limit = compare(case)
        assert not found, f"random_case({seed}, {fork!r}): {found}"
        limited += limit is not None
    assert limited <= SEEDS // 10


@pytest.mark.soak
@pytest.mark.parametrize("fork", FORKS)
def test_peers_agree_on_many_random_cases(fork: str) -> None:
    for seed in range(SEEDS, 1000):
        found, _ = compare(random_case(seed, fork))
        assert not found, f"random_case({seed}, {fork!r}): {found}"


@pytest.mark.parametrize(
    "fork", [fork if fork == "SPURIOUS" else pytest.param(fork, marks=pytest.mark.soak) for fork in FORKS]
)
def test_peers_agree_on_hostile_cases(fork: str) -> None:
    for name, case in hostile_cases(fork).items():
        if name not in HEAVY:
            found, _ = compare(case)
            assert not found, f"hostile_cases({fork!r})[{name!r}]: {found}"


@pytest.mark.soak
def test_peers_agree_on_heavy_cases() -> None:
    for name in sorted(HEAVY):
        assert compare(hostile_cases("CANCUN")[name]) == ([], None), name


def test_hostile_cases_do_what_they_say() -> None:
    cases = hostile_cases("CANCUN")
    assert cases.keys() > HEAVY
    for name in ("call_1024_deep", "callcode_1024_deep", "delegatecall_1024_deep", "staticcall_1024_deep"):
        assert int.from_bytes(run_pyrevm(cases[name]).output, "big") == 1025, name  # the transaction's own frame is one more
    assert len(run_pyrevm(cases["create_1024_deep"]).accounts) > 1024
    assert 300 < int.from_bytes(run_pyrevm(cases["call_63_64"]).output, "big") < 400
    for name in (
        "infinite_loop",
        "jumpdest_loop",
        "exp_loop",
        "jump_into_push_data",
        "stack_1024_dup",
        "mstore_at_100000000",
    ):
        outcome = run_pyrevm(cases[name])
        assert not outcome.success, name
        assert outcome.gas_used == cases[name].tx["gas_limit"], name
    for name in (
        "jump_3",
        "jump_over_all_pushes",
        "truncated_push32",
        "stack_1024_swap",
        "nothing_at_huge_offsets",
        "empty_code",
    ):
        assert run_pyrevm(cases[name]).success, name
    assert len(run_pyrevm(cases["many_logs"]).logs) == 300
    assert not run_pyrevm(cases["create_transaction_gas_200102"]).success
    assert run_pyrevm(cases["create_transaction_gas_200103"]).success


@pytest.mark.parametrize("fork", ["FRONTIER", "CANCUN"])
def test_random_cases_reach_every_opcode(fork: str) -> None:
    passed, _ = opcode_coverage(random_case(seed, fork) for seed in range(250))
    assert list(passed) == sorted(opcodes_of(fork), key=lambda name: OPCODES[name][0])
    assert [name for name, count in passed.items() if not count] == []


def test_random_cases_succeed_and_fail() -> None:
    outcomes = [run_pyrevm(random_case(seed, "CANCUN")) for seed in range(200)]
    assert 100 < sum(outcome.success for outcome in outcomes) < 180
    assert sum(len(outcome.logs) > 0 for outcome in outcomes) > 10
    assert sum(any(after.storage for after in outcome.accounts.values()) for outcome in outcomes) > 100


@pytest.mark.parametrize("fork", FORKS)
def test_cases_are_functions_of_their_seeds(fork: str) -> None:
    assert random_case(7, fork) == random_case(7, fork)
    assert random_case(7, fork) != random_case(8, fork)
    assert hostile_cases(fork) == hostile_cases(fork)


@pytest.mark.parametrize("fork", FORKS)
def test_random_cases_have_all_kinds_of_transactions(fork: str) -> None:
    cases = [random_case(seed, fork) for seed in range(100)]
    assert all(case.tx["gas_limit"] >= intrinsic_gas(case) for case in cases)
    assert any(case.tx["to"] is None for case in cases)
    assert any(case.tx["access_list"] for case in cases) == from_fork(fork, "BERLIN")
    assert any(case.env["base_fee"] for case in cases) == from_fork(fork, "LONDON")
    assert any(case.tx.get("blob_hashes") for case in cases) == from_fork(fork, "CANCUN")
    later = set(OPCODES) - set(opcodes_of(fork))
    assert fork == "CANCUN" or any(later & static_opcodes(case).keys() for case in cases)


def test_forks_are_those_of_the_package() -> None:
    from pevm_numba.evm.forks import Fork

    assert tuple(fork.name for fork in Fork if fork <= Fork.CANCUN) == FORKS


@pytest.mark.parametrize("run", [run_pyrevm, run_pyevm])
def test_outcome_of_a_simple_case(run: Run) -> None:
    case = simple(
        "CANCUN", "NUMBER", 0, "MSTORE", 2, 1, 32, 0, "LOG2", 5, 1, "SSTORE", 0, 9, "SSTORE", 1, "NUMBER", "SUB", "BLOCKHASH",
        0, "MSTORE", 32, 0, "RETURN", value=6,
    )  # fmt: skip
    outcome = run(case)
    assert outcome.success
    assert outcome.output == block_hash(299)
    assert outcome.logs == ((CONTRACTS[0], (1, 2), (300).to_bytes(32, "big")),)
    used = outcome.gas_used
    assert outcome.accounts == {
        SENDER: (10**18 - 3 * used - 6, 5, b"", {}),
        CONTRACTS[0]: (16, 1, case.pre[CONTRACTS[0]].code, {1: 5}),
        COLLECTOR: (used, 0, b"", {}),
    }


@pytest.mark.parametrize("run", [run_pyrevm, run_pyevm])
def test_fee_recipient_without_a_fee(run: Run) -> None:
    assert COLLECTOR not in run(simple("LONDON", "STOP", gas_price=2)).accounts
    assert COLLECTOR not in run(simple("SPURIOUS", "STOP", gas_price=0)).accounts
    assert run(simple("HOMESTEAD", "STOP", gas_price=0)).accounts[COLLECTOR] == (0, 0, b"", {})


@pytest.mark.parametrize("run", [run_pyrevm, run_pyevm])
def test_output_of_a_halt_a_revert_and_a_create(run: Run) -> None:
    revert = (7, 0, "MSTORE", 32, 0, "REVERT")
    outcome = run(simple("BERLIN", *revert))
    assert (outcome.success, outcome.output) == (False, (7).to_bytes(32, "big"))
    outcome = run(simple("BERLIN", 7, 0, "MSTORE", b"\xfe"))
    assert (outcome.success, outcome.output, outcome.gas_used) == (False, b"", 200_000)
    assert run(simple("BERLIN", to=None, data=assemble("BERLIN", *revert), gas_price=0)).output == b""


@pytest.mark.parametrize("run", [run_pyrevm, run_pyevm])
@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 3},
        {"nonce": 5},
        {"gas_limit": 20_999},
        {"gas_limit": 30_000_001},
        {"gas_price": 1},
        {"gas_price": 10**18},
        {"value": 10**18},
        {"to": None, "data": bytes(49_153), "gas_limit": 10_000_000},
    ],
)
def test_invalid_transactions_are_rejected(run: Run, change: dict[str, object]) -> None:
    case = simple("SHANGHAI", "STOP")
    with pytest.raises(CaseRejected):
        run(replace(case, tx={**case.tx, **change}))


@pytest.mark.parametrize("run", [run_pyrevm, run_pyevm])
def test_senders_with_code_and_other_forks_are_rejected(run: Run) -> None:
    case = simple("SHANGHAI", "STOP")
    with pytest.raises(CaseRejected, match="code"):
        run(replace(case, pre={**case.pre, SENDER: Account(10**18, 4, b"\0")}))
    with pytest.raises(CaseRejected, match="unknown"):
        run(replace(case, fork="OSAKA"))


def test_limits_of_pyrevm_are_known() -> None:
    asked = simple("LONDON", "BASEFEE", 0, "SSTORE")
    assert differences(asked, run_pyrevm(asked), run_pyevm(asked))
    assert "BASEFEE" in str(pyrevm_limit(asked))
    assert pyrevm_limit(simple("LONDON", "STOP")) is None
    assert pyrevm_limit(simple("BERLIN", "STOP")) is None
    created = simple("BERLIN", to=None, data=assemble("BERLIN", "GASPRICE", 0, "SSTORE"))
    assert differences(created, run_pyrevm(created), run_pyevm(created))
    assert "GASPRICE" in str(pyrevm_limit(created))
    call = (0, 0, 0, 0, 0, int.from_bytes(ABSENT[0], "big"), 1000, "CALL")
    assert "exists" in str(pyrevm_limit(simple("HOMESTEAD", *call)))
    assert pyrevm_limit(simple("SPURIOUS", *call)) is None
    assert "exists" in str(pyrevm_limit(simple("TANGERINE", int.from_bytes(ABSENT[0], "big"), "SELFDESTRUCT")))
    poor = simple("BERLIN", "STOP")
    with pytest.raises(PeerLimit, match="twice"):
        run_pyrevm(replace(poor, pre={**poor.pre, SENDER: Account(600_000, 4)}))


def test_differences_are_told() -> None:
    case = simple("BERLIN", "STOP")
    after = {SENDER: run_pyevm(case).accounts[SENDER]}
    one = Outcome(True, 21_000, b"a", (), after)
    assert differences(case, one, one) == []
    for other in (
        replace(one, success=False),
        replace(one, gas_used=21_001),
        replace(one, output=b"b"),
        replace(one, logs=((SENDER, (), b""),)),
        replace(one, accounts={}),
        replace(one, accounts={SENDER: after[SENDER]._replace(nonce=9)}),
        replace(one, accounts={SENDER: after[SENDER]._replace(storage={1: 1})}),
    ):
        assert len(differences(case, one, other)) == 1
        assert len(differences(case, other, one)) == 1
    creating = replace(case, tx={**case.tx, "to": None})
    assert differences(creating, one, replace(one, output=b"b")) == []


def test_executed_opcodes_tell_ends_from_halts() -> None:
    passed, halted = executed_opcodes(simple("BERLIN", 1, "POP", "POP"))
    assert (passed[0x60], passed[0x50], halted[0x50]) == (1, 1, 1)
    passed, halted = executed_opcodes(simple("BERLIN", 0, 0, "REVERT"))
    assert (passed[0xFD], sum(halted.values())) == (1, 0)
    assert static_opcodes(simple("BERLIN", 0x5B5B, "POP"))["JUMPDEST"] == 0
