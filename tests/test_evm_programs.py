"""Random programs on the EVM's kernels and on an independent EVM: success and gas must be the same.

Returned bytes and state are compared once blocks have a form of their own: the block hashes of the peers are unknown here.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("pyrevm", reason="pyrevm is not installed")
pytest.importorskip("eth_keys", reason="py-evm is not installed")

import evm_peers as Q
import evm_programs as P

from pevm_numba._kernels.evm import layout, state
from pevm_numba._kernels.evm import transactions as X
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba.evm.arena import Arena, Room
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.precompiles import call as pcall
from pevm_numba.evm.precompiles import precompiles
from pevm_numba.evm.prices import prices

L = layout


def w(b, i, v):
    b[32 * i : 32 * i + 32] = np.frombuffer(int(v).to_bytes(32, "little"), np.uint8)


def run(case):
    fork = Fork[case.fork]
    pr = prices(fork)
    A = Arena(fork, Room(keys=1 << 13, codes=256, accounts=512, slots=4096, journal=1 << 15))
    c = A.address
    big = {
        "frames": 1030 * L.FRAME.size,
        "stack": 1040 * 1024 * 32,
        "memory": 64 << 20,
        "returned": 4 << 20,
        "logs": 4096 * L.LOG.size,
        "log_data": 4 << 20,
        "environment": 32 * 16,
        "block_hashes": 32 * 256,
    }
    for k, n in big.items():
        A[k] = A._make(k, n).ctypes.data
    A["memory_end"] = A["memory"] + big["memory"]
    A["returned_room"] = big["returned"]
    A["log_room"] = 4096
    A["log_end"] = A["log_data"] + big["log_data"]
    env = case.env
    E = A.buffer("environment")
    for i, v in (
        (2, int.from_bytes(env["fee_recipient"], "big")),
        (3, env["timestamp"]),
        (4, env["number"]),
        (5, env.get("prev_randao", env.get("difficulty", 0)) or 0),
        (6, env["gas_limit"]),
        (7, env.get("chain_id", 1)),
        (8, env.get("base_fee") or 0),
        (9, env.get("blob_base_fee", 1) or 1),
    ):
        w(E, i, v)
    w(A.buffer("context"), 0, int.from_bytes(env["fee_recipient"], "big"))
    A["n_precompiles"] = len(precompiles(fork))

    def host(cp):
        data = ctypes.string_at(A["host_input"], A["host_size"]) if A["host_size"] else b""
        ok, used, out = pcall(fork, A["host_address"], data, A["host_gas"])
        A["host_ok"] = int(ok)
        A["host_used"] = used
        A["returned_size"] = len(out)
        ctypes.memmove(A["returned"], out, len(out))
        return 0

    cb = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(host)
    A["host"] = ctypes.cast(cb, ctypes.c_void_p).value
    tmp = A._make("tmp", 64)
    ta = int(tmp.ctypes.data)
    V = A.words("values")

    def key(o, v, n):
        w(tmp, 0, v)
        return state.find_key(c, o, ta, n)

    def limbs(v):
        return np.frombuffer(int(v).to_bytes(32, "little"), np.uint64)

    base = {}
    for a, acc in case.pre.items():
        k = key(-1, int.from_bytes(a, "big"), 3)
        base[a] = k
        V[k] = limbs(acc.balance)
        V[k + 1] = limbs(acc.nonce)
        if acc.code:
            n = A.add_code(acc.code)
            r = A.buffer("codes").reshape(-1, L.CODE.size)[n]
            V[k + 2] = r[:32].view(np.uint64)
        for s, v in acc.storage.items():
            V[key(k, s, 1)] = limbs(v)
    tx = case.tx
    T = A._make("tx", L.TX.size)
    N = L.TX.numbers
    W = L.TX.words

    def num(n, v):
        T[N[n] : N[n] + 8].view(np.int64)[0] = v

    def wrd(n, v):
        T[W[n] : W[n] + 32] = np.frombuffer(int(v).to_bytes(32, "little"), np.uint8)

    data = tx["data"]
    D = A._make("data", len(data) + 64)
    D[: len(data)] = np.frombuffer(data, np.uint8)
    al = tx.get("access_list") or ()
    ent = []
    for a, sl in al:
        ent.append((a, None))
        ent += [(a, s) for s in sl]
    LB = A._make("list", 96 * len(ent) + 8)
    for i, (a, s) in enumerate(ent):
        w(LB[96 * i :], 0, int.from_bytes(a, "big"))
        if s is not None:
            w(LB[96 * i :], 1, s)
            LB[96 * i + 64 : 96 * i + 72].view(np.int64)[0] = 1
    z = data.count(0)
    intr = pr["tx"] + 4 * z + pr["tx_byte"] * (len(data) - z)
    create = tx["to"] is None
    if create:
        intr += pr["tx_create"] + pr["initcode_word"] * ((len(data) + 31) // 32)
    intr += sum(pr["list_address"] if s is None else pr["list_slot"] for a, s in ent)
    num("creates", int(create))
    num("nonce", tx["nonce"])
    num("gas_limit", tx["gas_limit"])
    num("intrinsic", intr)
    num("data", D.ctypes.data)
    num("data_size", len(data))
    num("list", LB.ctypes.data)
    num("list_end", LB.ctypes.data + 96 * len(ent))
    bh = tx.get("blob_hashes") or ()
    B = A._make("bh", 32 * len(bh) + 32)
    for i, h in enumerate(bh):
        w(B, i, int.from_bytes(h, "big"))
    num("blob_hashes", B.ctypes.data)
    num("n_blobs", len(bh))
    bf = len(bh) * 131072 * 1
    wrd("sender", int.from_bytes(tx["sender"], "big"))
    wrd("to", 0 if create else int.from_bytes(tx["to"], "big"))
    wrd("value", tx["value"])
    wrd("fee", tx["gas_price"])
    wrd("tip", tx["gas_price"] - (env.get("base_fee") or 0))
    wrd("most_upfront", tx["gas_limit"] * tx["gas_price"] + tx["value"] + bf)
    wrd("blob_fee", bf)
    g = np.zeros(1, np.int64)
    s = np.zeros(1, np.int64)
    n = X.run_transactions(c, T.ctypes.data, 1, g, s)
    out = A.buffer("returned")[: A["returned_size"]].tobytes()
    return n, bool(s[0]), int(g[0]), out


@pytest.mark.parametrize("fork", ["BERLIN", "LONDON", "PARIS", "SHANGHAI", "CANCUN"])
def test_random_programs_succeed_and_cost_as_on_pyrevm(fork: str) -> None:
    succeeded = 0
    for seed in range(1000, 1040):
        case = P.random_case(seed, fork)
        theirs = Q.run_pyrevm(case)
        n, success, gas, _ = run(case)
        assert n == 1, seed
        assert (success, gas) == (theirs.success, theirs.gas_used), seed
        succeeded += success
    assert succeeded > 5
    assert REGIONS.violation() == 0
