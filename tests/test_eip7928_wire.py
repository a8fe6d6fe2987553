"""Access lists in RLP, which is read and written by a library: what it lets through, how far it goes, and life without it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import eip7928_naive as naive
import pytest
from test_cli import in_process
from test_eip7928 import ONE, plain
from test_evm_folders import example, tables, write

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.access.eip2930 import encode_list, encode_lists
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.eip7928_rules import Rule, RuleError
from pevm_numba.access.eip7928_wire import _Reader
from pevm_numba.errors import UsageError
from pevm_numba.evm.rlp import encode, encode_bytes, join_list
from pevm_numba.io.access_lists import block_list_json, block_list_of, read_block_list


def header_by_the_library(data: bytes, end: int) -> Any:
    try:
        kind, start, stop = _Reader(data).item(0, end, Rule.TRUNCATED)
    except RuleError as error:
        return error.rule.name
    return kind is list, start, stop


def header_by_the_slow_reader(data: bytes, end: int) -> Any:
    try:
        return naive.header(data, 0, end)
    except naive.Broken as broken:
        return str(broken)


def test_each_header_is_read_or_refused_as_the_slow_reader_does() -> None:
    """All of one and two bytes, and of more those at edges; in data that ends there, or goes on after the list."""
    edges = (0, 1, 0x37, 0x38, 0x80, 0xFF)
    starts = [bytes([one]) for one in range(256)] + [bytes(pair) for pair in product(range(256), repeat=2)]
    longs = (*range(0xB8, 0xC0), *range(0xF8, 0x100))
    starts += [bytes([first, *more]) for first in longs for more in product(edges, repeat=3)]
    told = set()
    for start in starts:
        for data in (start, start + bytes([5]) * 60):
            for end in {0, 1, 2, len(start), len(data)}:
                if end <= len(data):
                    found = header_by_the_library(data, end)
                    assert found == header_by_the_slow_reader(data, end), (data.hex(), end)
                    told.add(found if isinstance(found, str) else "")
    assert told == {"", "TRUNCATED", "LENGTH_NOT_MINIMAL", "BYTE_NOT_MINIMAL"}


class Raw(bytes):
    """What is encoded already."""


def written(item: Any) -> bytes:
    if isinstance(item, list):
        return join_list([written(one) for one in item])
    return item if isinstance(item, Raw) else encode(item)


def longer(item: Any) -> Iterator[tuple[str, bytes]]:
    """The encodings of an item that are not the one it has, with the rule that each breaks."""
    data = written(item)
    single = not isinstance(item, list) and len(data) == 1 and data[0] < 0x80
    payload = data if single else data[1:]
    assert len(payload) < 56
    short, long = (0xC0, 0xF7) if isinstance(item, list) else (0x80, 0xB7)
    if single:
        yield "BYTE_NOT_MINIMAL", b"\x81" + data
    for width in range(1, 9):
        yield "LENGTH_NOT_MINIMAL", bytes([long + width]) + len(payload).to_bytes(width, "big") + payload
    for cut in (data[:-1], bytes([short + 55]) + payload, bytes([long + 8]) + b"\xff" * 8 + payload, bytes([long + 8])):
        if not single or len(cut) > 1:
            yield "TRUNCATED", cut


def places(item: Any, at: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    yield at
    for i, one in enumerate(item if isinstance(item, list) else ()):
        yield from places(one, (*at, i))


def with_raw(item: Any, at: tuple[int, ...], raw: Raw) -> Any:
    return [with_raw(one, at[1:], raw) if i == at[0] else one for i, one in enumerate(item)] if at else raw


def test_an_item_in_another_form_than_its_one_is_refused_wherever_it_is() -> None:
    items = [plain(AccountChanges(b"\x01" * 20, ((5, ((1, 7),)),), (6,))), plain(AccountChanges(b"\x02" * 20))]
    more = [plain(AccountChanges(b"\x03" * 20, (), (), ((1, 300),), ((2, 1),), ((1, b"\xfe\xff"),)))]
    tried = 0
    for given in (items, more):
        for at in places(given):
            item: Any = given
            for i in at:
                item = item[i]
            if len(written(item)) > 56:  # its short form is no form of it
                continue
            for rule, raw in longer(item):
                data = written(with_raw(given, at, Raw(raw)))
                with pytest.raises(RuleError) as caught:
                    Eip7928List.decode(data)
                with pytest.raises(naive.Broken) as broken:
                    naive.decode(data)
                assert caught.value.rule.name == str(broken.value), (data.hex(), at)
                assert caught.value.rule.name == rule or rule == "TRUNCATED"  # what follows may be taken for the rest
                tried += 1
    assert tried > 250
    long = AccountChanges(b"\x01" * 20, (), (), (), (), ((1, b"\xfe" * 56), (2, b"\xff" * 255), (3, b"\0" * 256)))
    good = Eip7928List.from_accounts([long]).encode()
    assert list(Eip7928List.decode(good)) == [long]
    for right, wrong in ((b"\xb8\x38", b"\xb9\0\x38"), (b"\xb8\xff", b"\xba\0\0\xff"), (b"\xb9\1\0", b"\xba\0\1\0")):
        assert good.count(right) == 1
        items = plain(long)
        items[5] = [[index, Raw(encode_bytes(code).replace(right, wrong, 1))] for index, code in items[5]]
        with pytest.raises(RuleError) as caught:
            Eip7928List.decode(written([items]))
        assert caught.value.rule is Rule.LENGTH_NOT_MINIMAL


def test_the_byte_and_the_account_are_told() -> None:
    data = Eip7928List.from_accounts([AccountChanges(bytes(20)), ONE]).encode()
    one = f"account 1, 0x{'01' * 20}"
    for right, wrong, told in (
        (data[9:], b"", "byte 0 of 9: more bytes must follow"),
        (data, data + b"\0", "byte 76 of 77: no bytes may follow the list"),
        (b"\xda\x94", b"\x05\x94", "byte 2 of 76: must be a list"),
        (b"\xda\x94", b"\xc0\x94", "byte 3 of 76, account 0: an account must have six fields"),
        (b"\xda\x94", b"\xda\x93", "byte 3 of 76, account 0: an address must be 20 bytes"),
        (b"\xc1\x06", b"\xc1\x00", f"byte 62 of 76, {one}: an integer must have no leading zeros"),
        (b"\xc2\x01\x09", b"\xc2\xf8\x09", f"byte 65 of 76, {one}: a length must be given in the fewest bytes"),
    ):
        assert data.count(right) == 1
        with pytest.raises(RuleError) as caught:
            Eip7928List.decode(data.replace(right, wrong))
        assert str(caught.value) == f"block access list, {told}"


# -------------------------------------------------------------------- hostile bytes


def nested(depth: int) -> bytes:
    """Lists within lists."""
    parts, size = [], 1
    for _ in range(depth):
        width = (size.bit_length() + 7) // 8
        parts.append(bytes([0xC0 + size]) if size < 56 else bytes([0xF7 + width]) + size.to_bytes(width, "big"))
        size += len(parts[-1])
    return b"".join(reversed(parts)) + b"\xc0"


def of_account(place: int, field: bytes) -> bytes:
    fields = [b"\xc0"] * 5
    fields[place] = field
    return join_list([join_list([encode_bytes(b"\x01" * 20), *fields])])


MUCH = 10**7
HOSTILE = {
    "lists after the list": (lambda: b"\xc0" * MUCH, "TRAILING_BYTES"),
    "lists in the list": (lambda: join_list([b"\xc0" * MUCH]), "ACCOUNT_FIELDS"),
    "lists of one byte each": (lambda: b"\xc1" * MUCH, "TRAILING_BYTES"),
    "lengths of eight bytes": (lambda: b"\xff" * MUCH, "TRUNCATED"),
    "a length of 2**64 - 1": (lambda: join_list([join_list([b"\xbf" + b"\xff" * 8])]), "TRUNCATED"),
    "a list of nearly 2**64 bytes": (lambda: b"\xff\xff" + b"\x01" * 7 + b"\xc0" * 99, "TRUNCATED"),
    "lists within lists": (lambda: nested(200_000), "STRING_EXPECTED"),
    "lists within a field": (lambda: of_account(0, nested(200_000)), "STRING_EXPECTED"),
    "lists for a slot": (lambda: of_account(1, join_list([nested(200_000)])), "STRING_EXPECTED"),
    "lists for code": (lambda: of_account(4, join_list([join_list([b"\x01", nested(200_000)])])), "STRING_EXPECTED"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_by_one_rule_at_once(name: str) -> None:
    """The library by itself goes as deep as it is told to (RecursionError), and believes lengths."""
    make, rule = HOSTILE[name]
    data = make()
    begin = time.process_time()
    with pytest.raises(RuleError) as caught:
        Eip7928List.decode(data)
    assert caught.value.rule.name == rule
    assert time.process_time() - begin < 2  # some microseconds


def test_time_grows_with_the_bytes_and_not_with_their_square() -> None:
    """The library's decoder takes 3 seconds for half of this, 16 for all: it copies. This takes a tenth of a second."""
    reads = tuple(range(2**255, 2**255 + 120_000))
    listed = Eip7928List.from_accounts([AccountChanges(b"\x01" * 20, (), reads)])
    begin = time.process_time()
    assert Eip7928List.decode(listed.encode()) == listed
    assert time.process_time() - begin < 5


# -------------------------------------------------------------------- without the library


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `rlp` were not installed."""
    monkeypatch.setitem(sys.modules, "rlp", None)


NAMED = r'access lists in RLP need the package rlp: pip install "pevm-numba\[access\]"'


@pytest.mark.usefixtures("bare")
def test_without_the_library_the_error_names_the_extra() -> None:
    listed = Eip7928List.from_accounts([ONE])
    for job in (
        listed.encode, listed.hash, lambda: Eip7928List.decode(b"\xc0"), lambda: encode_list(()), lambda: encode_lists([()]),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=NAMED):
            job()


@pytest.mark.parametrize("other", [None, lambda *_: (b"", bytes, 1), lambda *_: (b"", bytes, 1, 0), lambda _: None])
def test_a_library_that_reads_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch, other: object) -> None:
    rlp = pytest.importorskip("rlp")
    monkeypatch.setattr(rlp.codec, "consume_length_prefix", other)
    with pytest.raises(UsageError, match=r'package rlp .*: reads no headers as versions 4 and 5 do: pip install "rlp>=4,<6"'):
        Eip7928List.decode(b"\xc0")


@pytest.mark.usefixtures("bare")
def test_without_the_library_all_else_goes_on() -> None:
    block = example()
    done = pn.execute(block, "serial")
    listed = done.eip7928_list()
    assert repr(listed).startswith(f"<Eip7928List: {len(listed)} accounts, ")
    assert block_list_of(block_list_json(listed)) == listed
    pn.execute(block, "bal", access_list=listed, workers=2).check_equal(done)
    assert pn.sets_of_list(listed, block.n_tx).n_tx == block.n_tx
    assert done.differences_from_chain() == pn.execute(block, "dataflow", workers=2).differences_from_chain()


def test_commands_without_the_library_say_so_before_they_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "blocks", tables(example()))
    command = in_process(cli.main, monkeypatch, capsys)
    (tmp_path / "right.json").write_text(json.dumps(block_list_json(pn.execute(example(), "serial").eip7928_list())))
    (tmp_path / "right.rlp").write_bytes(read_block_list(tmp_path / "right.json").encode())
    monkeypatch.setitem(sys.modules, "rlp", None)
    for words in (
        ("export", "--output", tmp_path / "x.rlp"), ("export", "--output", tmp_path / "x.json"),
        ("export", "--form", "eip2930", "--output", tmp_path / "x.rlp"), ("validate", "--list", tmp_path / "right.rlp"),
        ("validate", "--list", tmp_path / "right.json"),
    ):  # fmt: skip
        said = command("access", *words, "--input", folder)
        assert (said.code, said.err.count("\n"), said.out) == (2, 1, ""), words
        assert 'pip install "pevm-numba[access]"' in said.err
    assert not list(tmp_path.glob("x.*"))
    said = command("access", "export", "--form", "eip2930", "--output", tmp_path / "x.json", "--input", folder)
    assert (said.code, said.err) == (0, "")
