"""Damaged files give a PevmError or a valid Block: never a crash, another exception or absurd memory.

The reading runs in a process of its own (this file is also its program), so that a crash shows as a failed test that
names the seed. Other readers can be fuzzed with `mutations` and `survives`.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pevm_numba
from pevm_numba.block import Block, Header
from pevm_numba.errors import PevmError
from pevm_numba.io.files import read_blocks, write_blocks

_A = [bytes([i]) * 20 for i in range(1, 9)]
_ODD = (0, 1, -1, 255, 256, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 2**64, 10**400)
_ODD_JSON = (*_ODD, None, True, 1.5, "NoOp", "", [], {}, [[]], {"NoOp": None}, {"SLoad": 3}, [1, 2], float("inf"))
_MEMORY = 4 * 2**30


# -------------------------------------------------------------------- mutations


def mutations(data: bytes, seed: int) -> bytes:
    """One to three random edits of a file: bit flips, truncation, insertion, zeroed, repeated or huge-number ranges."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        size = max(1, len(out))
        # the end of a Parquet file holds its metadata: half of the edits go there
        at = rng.randrange(size) if rng.random() < 0.5 else max(0, size - 1 - int(rng.expovariate(1 / 300)))
        length = rng.choice((1, 2, 4, 8, 32, 200))
        kind = rng.randrange(8)
        if kind <= 1:
            for _ in range(rng.choice((1, 1, 4, 16))):
                place = min(size - 1, at + rng.randrange(length))
                out[place : place + 1] = bytes([(out[place] if out else 0) ^ (1 << rng.randrange(8))])
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = rng.randbytes(length)
        elif kind == 4:
            out[at : at + length] = bytes(len(out[at : at + length]))
        elif kind == 5:
            del out[at : at + length]
        elif kind == 6:
            out[at : at + 8] = rng.choice((b"\xff" * 8, b"\xff\xff\xff\x7f" * 2, b"\xff\xff\xff\xff\x0f\x00\x00\x00"))
        else:
            other = rng.randrange(size)
            out[at : at + length] = out[other : other + length]
    return bytes(out)


def table_mutation(table: pa.Table, seed: int) -> pa.Table:
    """A readable Parquet table that breaks rules: columns swapped, dropped, retyped; rows shuffled, nulled."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 2))):
        i, j = rng.randrange(table.num_columns), rng.randrange(table.num_columns)
        name, kind = table.column_names[i], rng.randrange(7)
        order = list(range(len(table)))
        if kind == 0:
            names = table.column_names
            names[i], names[j] = names[j], names[i]
            table = table.rename_columns(names)
        elif kind == 1:
            table = table.drop_columns([name])
        elif kind == 2:
            rng.shuffle(order)
            table = table.take(pa.array(order, pa.int64()))
        elif kind == 3:
            table = table.take(pa.array([*order, *order[-2:]], pa.int64()))
        elif kind == 4:
            table = table.set_column(i, name, _odd_column(rng, len(table)))
        elif kind == 5:
            values = table[name].to_pylist()
            if values:
                values[rng.randrange(len(values))] = None
            table = table.set_column(i, pa.field(name, table[name].type), pa.array(values, table[name].type))
        else:
            version = rng.choice(("pevm_numba.block/2", "pevm_numba.state/1", "pevm_numba.block/1", ""))
            table = table.replace_schema_metadata({"pevm_numba.schema": version})
        if not table.num_columns:
            break
    return table


def _odd_column(rng: random.Random, n: int) -> pa.Array:
    return rng.choice(
        (
            pa.nulls(n),
            pa.array([rng.choice(_ODD[:9]) % 2**64 for _ in range(n)], pa.uint64()),
            pa.array([-1] * n, pa.int64()),
            pa.array([0.5] * n),
            pa.array(["text"] * n),
            pa.array([True] * n),
            pa.array([b"x" * 19] * n),
            pa.array([[b"x" * 20]] * n),
            pa.array([[{"op": 9, "address": b""}]] * n),
            pa.array([{"op": 1}] * n),
            pa.array([[]] * n, pa.list_(pa.null())),
        )
    )


def json_mutation(data: bytes, seed: int) -> bytes:
    """Valid JSON in which one or two values have been replaced, removed or added."""
    rng = random.Random(seed)
    root = json.loads(data)
    for _ in range(rng.choice((1, 2))):
        node: Any = root
        for _ in range(rng.randrange(9)):
            inner = [v for v in (node.values() if isinstance(node, dict) else node) if isinstance(v, dict | list) and v]
            if not inner:
                break
            node = rng.choice(inner)
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        kind = rng.randrange(3)
        if not keys or kind == 0:
            value = rng.choice(_ODD_JSON)
            node.append(value) if isinstance(node, list) else node.update(extra=value)
        elif kind == 1:
            del node[rng.choice(keys)]
        else:
            node[rng.choice(keys)] = rng.choice(_ODD_JSON)
    return json.dumps(root).encode()


# -------------------------------------------------------------------- files to damage


def _blocks() -> list[Block]:
    key, balance = (_A[0], 0, b"\x05" * 32), (_A[1], 1, 0)
    program = [("SLOAD", key), ("ADD", 3), ("SSTORE", key, "TOP"), ("KECCAK", b"abc" * 9), ("NOOP", 7), ("BURN", 9)]
    more = [("CREDIT", balance, 2**200), ("TOUCH", (_A[2], 2, 0)), ("SSTORE", (_A[3], 9), 5), ("SUB", 1)]
    meta = {"tx_hash": [b"h" * 32, None, None], "input": [b"", b"data", None], "chain_success": [True, False, None]}
    full = Block.from_programs(
        [program, more, []],
        {key: 7, balance: 8, (_A[5], 3, 0): 2**255},
        access_lists=[[(_A[0], [5, 6])], [], [(_A[7], [])]],
        declared_reads=[[key], None, []],
        declared_writes=[None, [balance], [key]],
        number=5,
        fork="berlin",
        header=Header(fee_recipient=_A[6], timestamp=1, block_gas_limit=30_000_000, parent_hash=b"p" * 32),
        meta=meta,
    )
    return [full, Block.from_programs([program, program], {balance: 1}, number=6), Block.from_programs([], number=9)]


def _plain_block() -> Block:
    key, other = (_A[0], 0, b"\x05" * 32), (_A[1], 0, b"\x06" * 32)
    program = [("SLOAD", key), ("ADD", 3), ("SSTORE", other, 12), ("KECCAK", b"abc" * 9), ("NOOP", 1), ("SUB", 2)]
    return Block.from_programs([program] * 3, number=1, access_lists=[[], [(_A[0], [5])], []])


def _damage(folder: Path, kind: str, seed: int) -> Path:
    """Write sound files and damage one of them; returns the path to read."""
    for old in folder.iterdir():
        old.unlink()
    if kind == "json":
        path = folder / ("one.json.gz" if seed % 3 == 0 else "one.json")
        write_blocks(path, _plain_block())
        data = path.read_bytes()
        if seed % 3 == 0 and seed % 2:
            data = gzip.compress(mutations(gzip.decompress(data), seed))
        elif seed % 3 == 1:
            data = json_mutation(data, seed)
        else:
            data = mutations(data, seed)
        path.write_bytes(data)
        return path
    path = folder / "some.parquet"
    write_blocks(path, _blocks())
    victim = path if kind == "block" else folder / f"some.{kind}.parquet"
    if seed % 4 == 0:
        pq.write_table(table_mutation(pq.read_table(victim), seed // 4), victim)
        return path
    if seed % 4 != 1:  # without checksums, so that the damage reaches the decoders
        table, packing = pq.read_table(victim), ("none", "snappy", "zstd")[seed % 3]
        pq.write_table(table, victim, compression=packing, use_dictionary=seed % 4 == 2)
    victim.write_bytes(mutations(victim.read_bytes(), seed))
    return path


# -------------------------------------------------------------------- running


def peak_memory() -> int:
    """Bytes that this program has had at most; what getrusage tells counts the process that started it, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def run_seeds(
    kind: str, start: int, stop: int, folder: Path, damage: Callable[[Path, str, int], Path] = _damage
) -> int:
    """Read one damaged file per seed; returns 1 and prints the seed if anything but a PevmError or a Block came out."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * _MEMORY, 2 * _MEMORY))
    outcomes = {"block": 0, "error": 0}
    for seed in range(start, stop):
        print(f"seed {seed}", flush=True)
        path = damage(folder, kind, seed)
        try:
            for block in read_blocks(path):
                assert isinstance(block, Block)
                assert block.digest()
            outcomes["block"] += 1
        except PevmError:
            outcomes["error"] += 1
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            return 1
    print(json.dumps({**outcomes, "peak": peak_memory()}))
    return 0


def survives(program: Path, kind: str, start: int, stop: int, folder: Path) -> dict[str, int]:
    """Run ``program kind start stop folder`` as a process of its own and return what it counted."""
    root = str(Path(pevm_numba.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)}
    command = [sys.executable, "-X", "faulthandler", str(program), kind, str(start), str(stop), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    tail = done.stdout[-3000:] + done.stderr[-2000:]
    assert done.returncode == 0, f"{kind}: exit {done.returncode}\n{tail}"
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["peak"] < _MEMORY, f"{kind}: {counts['peak']} bytes of memory for small files"
    return counts


@pytest.mark.parametrize("kind", ["block", "state", "blocks", "json"])
def test_damaged_files_give_an_error_or_a_valid_block(kind: str, tmp_path: Path) -> None:
    seeds = 2000 if os.environ.get("PEVM_NUMBA_SOAK") else 160
    counts = survives(Path(__file__), kind, 0, seeds, tmp_path)
    assert counts["block"] + counts["error"] == seeds
    assert counts["error"] >= seeds // 4, "the damage is too weak to test anything"


def test_the_memory_of_who_starts_the_reading_is_not_counted(tmp_path: Path) -> None:
    mine = np.ones(10**9, np.uint8)
    assert survives(Path(__file__), "json", 0, 2, tmp_path)["peak"] < 10**9 <= mine.nbytes


def test_mutations_depend_on_the_seed_alone() -> None:
    data = bytes(np.arange(4000) % 251)
    assert mutations(data, 3) == mutations(data, 3)
    assert len({mutations(data, seed) for seed in range(50)}) > 40


def test_mutations_of_an_empty_file_are_bytes() -> None:
    assert all(isinstance(mutations(b"", seed), bytes) for seed in range(50))


if __name__ == "__main__":
    sys.exit(run_seeds(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
