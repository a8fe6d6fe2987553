"""Stores on the command line: made, looked at, compared, run on; mistakes are one line, and leave nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from evm_corpus import CORPUS
from test_cli import Command, in_process

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.storage.opening import open_store

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(cli.main, monkeypatch, capsys)


@pytest.fixture(scope="module")
def block() -> pn.EvmBlock:
    return pn.generate_evm("erc20", n_tx=12, seed=4, number=20_000_000)


@pytest.fixture
def files(block: pn.EvmBlock, tmp_path: Path) -> tuple[Path, Path]:
    pn.write_node_block(tmp_path / "block.json", tmp_path / "pre.json", block)
    return tmp_path / "block.json", tmp_path / "pre.json"


def loaded(command: Command, files: tuple[Path, Path], store: Path, backend: str = "mmap") -> None:
    said = command("state", "load", "--input", files[0], "--prestate", files[1], "--output", store, "--backend", backend)
    assert (said.code, said.err) == (0, ""), said


@pytest.mark.parametrize("backend", ["mmap", "rocksdb", "lmdb", "sqlite"])
def test_a_store_is_made_dumped_and_made_again(
    backend: str, command: Command, files: tuple[Path, Path], block: pn.EvmBlock, tmp_path: Path
) -> None:
    store, dump, again, copy = tmp_path / "store", tmp_path / "dump.parquet", tmp_path / "again", tmp_path / "copy"
    loaded(command, files, store, backend)
    with open_store(store, "r") as one:
        assert pn.read_world(one) == block.state
        keys = pn.verify_store(one).keys
    said = command("state", "dump", store, "--output", dump)
    assert said.out == f"{dump}: {keys:,} keys, last block none committed yet\n"
    said = command("state", "load", "--input", dump, "--output", again)
    assert f"keys        {keys:,}" in said.out
    assert command("state", "compare", store, again).out.startswith("equal       yes, every key\n")
    assert "whole       yes" in command("state", "verify", again).out
    assert command("state", "snapshot", store, "--output", copy).out == f"{copy}: {backend}, last block none committed yet\n"
    assert command("state", "compare", copy, again).code == 0


def test_an_account_is_shown(command: Command, files: tuple[Path, Path], block: pn.EvmBlock, tmp_path: Path) -> None:
    loaded(command, files, tmp_path / "s")
    address = next(one for one, account in block.state.items() if len(account.storage) > 2)
    account, slots = block.state[address], sorted(block.state[address].storage)
    said = command("state", "get", tmp_path / "s", f"0x{address.hex()}", "--rows", 2).out
    assert f"balance  {account.balance:,} wei\nnonce    {account.nonce:,}\ncode     {len(account.code):,} bytes\n" in said
    assert f"storage  {len(slots):,} slots\n" in said
    for slot in slots[:2]:
        assert f"slot 0x{slot:x} = 0x{account.storage[slot]:x}\n" in said
    assert said.endswith(f"and {len(slots) - 2:,} more\n")
    said = command("state", "get", tmp_path / "s", address.hex(), "--slot", str(slots[0]), "--slot", "0x7").out
    assert said.endswith(f"slot 0x{slots[0]:x} = 0x{account.storage[slots[0]]:x}\nslot 0x7 = 0x0\n")
    again = command("state", "get", tmp_path / "s", address.hex(), "--slot", "7", "--slot", "0x7").out
    assert again.count("slot 0x7") == 1
    assert command("state", "get", tmp_path / "s", "00" * 20).out == f"account  0x{'00' * 20}: not there\nstorage  0 slots\n"


def test_differences_are_named_and_end_with_code_3(command: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        loaded(command, files, tmp_path / name)
    with open_store(tmp_path / "b", "w") as store:
        store.put_many(pn.KeyTable.from_keys([(b"\x07" * 20, 0, slot) for slot in (1, 2)]), [[0] * 31 + [5]] * 2)
    said = command("state", "compare", tmp_path / "a", tmp_path / "b", "--rows", 1)
    assert said.code == 3
    assert said.out in [f"0x{'07' * 20} slot 0x{slot}: 0x0, 0x5\nand 1 more\n" for slot in (1, 2)]  # in no order
    assert said.err == f"error: {tmp_path / 'a'} and {tmp_path / 'b'}: 2 keys are unlike\n"


@pytest.mark.skipif(DISABLED, reason="the command line executes with kernels")
def test_micro_ops_run_on_a_store_and_go_on_where_they_were(command: Command, tmp_path: Path) -> None:
    blocks = [pn.generate("small", seed=n, number=n) for n in (3, 4, 7)]
    pn.write_blocks(tmp_path / "blocks.parquet", blocks)
    for backend, prefetch in (("mmap", "--prefetch"), ("sqlite", "--no-prefetch")):
        store = tmp_path / backend
        said = command(
            "state", "load", "--input", tmp_path / "blocks.parquet", "--number", 3, "--output", store, "--backend", backend
        )
        assert said.code == 0, said
        words = ("state", "run", store, "--input", tmp_path / "blocks.parquet", prefetch)
        said = command(*words, "--blocks", "3,4", "--workers", 2)
        assert said.code == 0, said
        assert said.out.startswith("blocks      2 executed and committed\n")
        past = "not after the last block of the store\n"
        assert command(*words).out.startswith(f"blocks      1 executed and committed, 2 {past}")
        assert command(*words).out.startswith(
            f"blocks      0 executed and committed, 3 {past}last block  7, digest"
        )
    assert command("state", "compare", tmp_path / "mmap", tmp_path / "sqlite").code == 0


@pytest.mark.corpus
@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
def test_a_real_block_runs_on_a_store_as_in_memory(command: Command, tmp_path: Path) -> None:
    store, number = tmp_path / "store", 14029313
    assert command("state", "load", "--input", CORPUS, "--number", number, "--output", store).code == 0
    said = command("state", "run", store, "--input", CORPUS, "--blocks", number, "--patterns", "built-in", "--delay", 5)
    assert said.code == 0, said
    block = next(pn.read_evm_blocks(CORPUS, [number]))
    with open_store(store, "r") as one:
        assert pn.read_world(one) == pn.execute(block, "serial").state
    row = next(line for line in said.out.splitlines() if line.startswith("14,029,313"))
    assert row.split()[1:3] == ["724", "30,074,554"]


def test_mistakes_are_one_line_and_leave_nothing(command: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    loaded(command, files, store)
    before = sorted(tmp_path.iterdir())
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    code = (1, int(pn.Field.CODE), 0)
    pn.write_blocks(tmp_path / "code.parquet", [pn.Block.from_programs([[("SLOAD", code)]], state={code: 5})])
    for words, code, said in (
        (("load", "--input", files[0], "--prestate", files[1], "--output", store), 1, f"{store}: is there already"),
        (("load", "--input", broken, "--output", tmp_path / "x"), 1, "not a readable Parquet file"),
        (("load", "--input", files[0], "--output", tmp_path / "x", "--backend", "memory"), 2, "'memory' is unknown"),
        (("load", "--input", tmp_path / "nothing", "--output", tmp_path / "x"), 1, "no such file"),
        (("dump", store, "--output", tmp_path / "x.json"), 2, "must be NAME.parquet"),
        (("dump", tmp_path / "no", "--output", tmp_path / "x.parquet"), 1, "there is no store"),
        (("get", store, "0x12"), 2, "must be 20 bytes in hexadecimal"),
        (("get", store, "00" * 20, "--slot", "-1"), 2, "must be a number below 2**256"),
        (("get", store, "00" * 20, "--rows", "-1"), 2, "--rows -1"),
        (("verify", files[0]), 1, "is no store"),
        (("snapshot", store, "--output", store), 1, "is there already"),
        (("run", store, "--input", tmp_path / "nothing"), 1, "no such file"),
        (("run", store, "--input", files[0], "--executor", "rayon"), 2, "--executor 'rayon' is unknown"),
        (("run", store, "--input", files[0], "--workers", "0"), 2, "--workers 0"),
        (("run", store, "--input", files[0], "--delay", "-1"), 2, "--delay -1"),
        (("run", store, "--input", files[0], "--blocks", "9" * 5000), 2, "must be numbers with commas"),
        (("run", store, "--input", files[0], "--no-prefetch", "--patterns", "built-in"), 2, "nothing is read ahead"),
        (("load", "--input", tmp_path / "code.parquet", "--output", tmp_path / "x"), 1, "--input must be a folder of tables"),
    ):  # fmt: skip
        found = command("state", *words)
        assert found.code == code, (words, found)
        assert said in found.err, (words, found)
        assert found.err.count("\n") == 1, found
    for made in (broken, *tmp_path.glob("code.*")):
        made.unlink()
    assert sorted(tmp_path.iterdir()) == before
    assert command("state", "verify", store).code == 0
