"""Accounts that run the code of others (EIP-7702), and the price of data (EIP-7623): random cases on py-evm's Prague."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import pytest
from evm_peers import Account, Case, intrinsic_gas, keccak, missing
from evm_programs import CONTRACTS, SENDER, random_case
from test_evm_programs import check, run

from pevm_numba.evm.rlp import encode
from pevm_numba.evm.transaction import authority_of

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {' and '.join(missing())}")
CASES = 3_000 if os.environ.get("PEVM_NUMBA_SOAK") else 60


def key(number: int) -> Any:
    keys = pytest.importorskip("eth_keys", reason="eth-keys is not installed").keys
    return keys.PrivateKey(number.to_bytes(32, "big"))


def authorization(signer: Any, chain: int, target: bytes, nonce: int) -> tuple[int, bytes, int, int, int, int]:
    signed = signer.sign_msg_hash(keccak(b"\x05" + encode([chain, target, nonce])))
    return chain, target, nonce, signed.v, signed.r, signed.s


def is_delegation(code: bytes) -> bool:
    return code[:3] == b"\xef\x01\x00"


def delegating_case(seed: int) -> Case:
    """A random case of Cancun, with accounts that delegate, are told to, or are told so wrongly."""
    rng = random.Random(f"prague {seed}")
    case = random_case(seed, "CANCUN")
    pre, tx = dict(case.pre), dict(case.tx)
    tx.pop("blob_hashes", None)
    used = [address for address in CONTRACTS if address in pre]
    chain = case.env.get("chain_id", 1)
    targets = [*used, bytes(20), bytes(19) + b"\x02", b"\xee" * 20]
    for address in rng.sample(used[1:], min(len(used) - 1, rng.randrange(3))) + ([used[0]] if rng.random() < 0.3 else []):
        pre[address] = replace(pre[address], code=b"\xef\x01\x00" + rng.choice(targets))
    signers = [key(n) for n in range(1, 5)]
    for signer in signers:
        if rng.random() < 0.7:
            code = rng.choice([b"", b"", b"\xef\x01\x00" + rng.choice(targets), b"\x00"])
            account = Account(rng.choice([0, 5]), rng.choice([0, 1, 7]), code)
            if account != Account():
                pre[signer.public_key.to_canonical_address()] = account
    given = []
    for _ in range(rng.randrange(5)):
        signer = rng.choice(signers)
        account = pre.get(signer.public_key.to_canonical_address(), Account())
        nonce = rng.choice([account.nonce, account.nonce, account.nonce + 1, 2**64 - 1])
        one = list(authorization(signer, rng.choice([chain, chain, 0, 5]), rng.choice(targets), nonce))
        if rng.random() < 0.1:
            one[rng.choice([3, 4, 5])] ^= 1
        given.append(tuple(one))
    if given and tx["to"] is not None:
        tx["authorizations"] = tuple(given)
        if rng.random() < 0.5:
            tx["to"] = rng.choice(signers).public_key.to_canonical_address()
        places = [*used, *(one.public_key.to_canonical_address() for one in signers)]
        tx["data"] = b"".join(bytes(12) + rng.choice(places) for _ in range(3))
    made = Case("PRAGUE", case.env, pre, tx)
    tx["gas_limit"] = max(tx["gas_limit"], intrinsic_gas(made) + rng.choice([0, 50_000, 900_000]))
    return Case("PRAGUE", case.env, pre, tx)


def test_random_programs_that_delegate_leave_what_py_evm_leaves() -> None:
    cases = [delegating_case(seed) for seed in range(70_000, 70_000 + CASES)]
    outcomes = [check(case, seed) for seed, case in enumerate(cases, 70_000)]
    assert 0 < sum(outcome.success for outcome in outcomes) < CASES
    told = [
        case
        for case, outcome in zip(cases, outcomes)
        if any(is_delegation(one.code) and case.pre.get(a, Account()).code != one.code for a, one in outcome.accounts.items())
    ]
    assert len(told) > CASES // 4


def test_a_signer_runs_the_code_that_it_asked_for() -> None:
    signer = key(9)
    address = signer.public_key.to_canonical_address()
    case = random_case(1, "CANCUN")
    given = authorization(signer, case.env.get("chain_id", 1), CONTRACTS[0], 0)
    assert authority_of(given) == address
    pre = {SENDER: case.pre[SENDER], CONTRACTS[0]: Account(0, 1, bytes.fromhex("3060005500"))}  # slot 0 := own address
    tx = {**case.tx, "to": address, "value": 0, "gas_limit": 200_000, "access_list": (), "data": b""}
    tx["authorizations"] = (given,)
    tx.pop("blob_hashes", None)
    done = run(Case("PRAGUE", case.env, pre, tx))
    assert done.success
    assert done.accounts[address].nonce == 1
    assert done.accounts[address].code == b"\xef\x01\x00" + CONTRACTS[0]
    assert done.accounts[address].storage == {0: int.from_bytes(address, "big")}
