"""Access lists in JSON as nodes give them: of a transaction (eth_createAccessList), of a block (eth_getBlockAccessList)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from ..access.eip7928 import AccountChanges, Eip7928List
from ..access.eip7928_rules import RuleError
from ..errors import FileFormatError
from .json_reader import JsonReader, opened
from .paths import existing, reading

__all__ = ["access_list_json", "access_list_of", "block_list_json", "block_list_of", "naming", "read_block_list"]

T = TypeVar("T")
_U64: Final = 2**64 - 1

#: Names that an index of a change goes by: that of the API, and that of some clients.
_INDEX: Final = ("index", "blockAccessIndex")


# -------------------------------------------------------------------- of a transaction (EIP-2930)


def access_list_json(entries: Sequence[tuple[bytes, Sequence[int]]], gas_used: int | None = None) -> dict[str, Any]:
    """A transaction's list as ``eth_createAccessList`` returns it.

    Parameters
    ----------
    entries : sequence of (address, slots)
    gas_used : int, optional
        Gas that the transaction uses with this list.

    Examples
    --------
    >>> access_list_json([(b"\\x01" * 20, (5,))], 21_000)["gasUsed"]
    '0x5208'
    """
    listed = [{"address": f"0x{one.hex()}", "storageKeys": [f"0x{slot:064x}" for slot in slots]} for one, slots in entries]
    return {"accessList": listed} | ({} if gas_used is None else {"gasUsed": hex(gas_used)})


def access_list_of(reader: JsonReader, place: str, value: Any) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
    """A transaction's list: an array of objects with address and storageKeys.

    Raises
    ------
    FileFormatError
        Naming the place, the value and the rule.

    Examples
    --------
    >>> access_list_of(JsonReader("it"), "accessList", [{"address": "0x" + "01" * 20, "storageKeys": ["0x5"]}])[0][1]
    (5,)
    """
    out = []
    for i, entry in enumerate(reader.array(place, value)):
        at = f"{place}[{i}]"
        given = reader.object(at, entry)
        keys_at, keys = reader.member(at, given, "storageKeys")
        slots = tuple(reader.integer(f"{keys_at}[{j}]", key) for j, key in enumerate(reader.array(keys_at, keys)))
        out.append((reader.need_octets(at, given, "address", size=20), slots))
    return tuple(out)


# -------------------------------------------------------------------- of a block (EIP-7928)


def block_list_json(listed: Eip7928List) -> list[dict[str, Any]]:
    """A block's list as ``eth_getBlockAccessList`` returns it.

    References
    ----------
    Ethereum JSON-RPC specification: slots and what they hold in 32 bytes, other numbers in the fewest digits.

    Examples
    --------
    >>> listed = Eip7928List.from_accounts([AccountChanges(b"\\x01" * 20, nonce_changes=((1, 255),))])
    >>> block_list_json(listed)[0]["nonceChanges"]
    [{'index': '0x1', 'value': '0xff'}]
    """
    return [
        {
            "address": f"0x{one.address.hex()}",
            "storageChanges": [
                {"key": f"0x{slot:064x}", "changes": [{"index": hex(i), "value": f"0x{value:064x}"} for i, value in changes]}
                for slot, changes in one.storage_changes
            ],
            "storageReads": [f"0x{slot:064x}" for slot in one.storage_reads],
            "balanceChanges": [{"index": hex(i), "value": hex(value)} for i, value in one.balance_changes],
            "nonceChanges": [{"index": hex(i), "value": hex(value)} for i, value in one.nonce_changes],
            "codeChanges": [{"index": hex(i), "code": f"0x{code.hex()}"} for i, code in one.code_changes],
        }
        for one in listed
    ]


def block_list_of(source: Any) -> Eip7928List:
    """A block's list from what ``eth_getBlockAccessList`` returns; the names that some clients use instead are known, too.

    Parameters
    ----------
    source : list of mappings, mapping with such a result, or path of a JSON file

    Raises
    ------
    FileFormatError
        Naming the place, the value and the rule.
    RuleError
        If something is out of order, naming the file if it is from one.

    Examples
    --------
    >>> block_list_of([{"address": "0x" + "01" * 20, "storageReads": ["0x5"]}])[0].storage_reads
    (5,)
    """
    reader, value = opened("block access list", source)
    accounts = [_account(reader, f"[{a}]", one) for a, one in enumerate(reader.array("list", value))]
    if not isinstance(source, str | os.PathLike):
        return Eip7928List.from_accounts(accounts)
    with naming(Path(source)):
        return Eip7928List.from_accounts(accounts)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Complaints about the list that is in a file, with the file."""
    try:
        yield
    except RuleError as error:
        raise error.of_file(path) from None


def read_block_list(path: str | os.PathLike[str]) -> Eip7928List:
    """A block's list from a file: JSON, or else its encoding, in bytes (``.rlp``) or as hexadecimal text.

    Parameters
    ----------
    path : path
        JSON if its name ends in ``.json`` or ``.json.gz``, in any case.

    Raises
    ------
    FileFormatError
        If the file is neither, naming it, and in JSON the place, the value and the rule.
    RuleError
        Naming the file, the place in it and the rule that the list breaks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "block.7.rlp").write_bytes(b"\\xc0")
    ...     read_block_list(Path(folder, "block.7.rlp"))
    <Eip7928List: 0 accounts, 0 slots changed, 0 read, 0 changes>
    """
    place = existing(path)
    if place.name.lower().endswith((".json", ".json.gz")):
        return block_list_of(place)
    with reading(place, "not readable"):
        data = place.read_bytes()
    text = data.strip()
    if text[:2] == b"0x":
        try:
            data = bytes.fromhex(text[2:].decode("ascii"))
        except ValueError:
            raise FileFormatError(f"{place}: begins with 0x: must be hexadecimal text") from None
    with naming(place):
        return Eip7928List.decode(data)


def _account(reader: JsonReader, place: str, value: Any) -> AccountChanges:
    given = reader.object(place, value)

    def items(name: str) -> tuple[str, list[Any]]:
        """A field, which may be missing if there is nothing in it."""
        at = f"{place}.{name}"
        return at, [] if given.get(name) is None else reader.array(at, given[name])

    def integer(at: str, value: Any) -> int:
        return reader.integer(at, value)

    slots = []
    for at, entry in _entries(reader, *items("storageChanges")):
        key = reader.need_integer(at, entry, "key", "slot")
        slots.append((key, _changes(reader, *reader.member(at, entry, "changes"), ("value", "newValue"), integer)))
    at, reads = items("storageReads")
    return AccountChanges(
        reader.need_octets(place, given, "address", size=20), tuple(slots),
        tuple(reader.integer(f"{at}[{i}]", slot) for i, slot in enumerate(reads)),
        _changes(reader, *items("balanceChanges"), ("value", "postBalance"), integer),
        _changes(reader, *items("nonceChanges"), ("value", "newNonce"), lambda at, value: reader.integer(at, value, _U64)),
        _changes(reader, *items("codeChanges"), ("code", "newCode"), lambda at, value: reader.octets(at, value)),
    )  # fmt: skip


def _entries(reader: JsonReader, place: str, value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    listed = reader.array(place, value)
    return [(f"{place}[{i}]", reader.object(f"{place}[{i}]", one)) for i, one in enumerate(listed)]


def _changes(
    reader: JsonReader, place: str, value: Any, names: tuple[str, ...], read: Callable[[str, Any], T]
) -> tuple[tuple[int, T], ...]:
    return tuple(
        (reader.need_integer(at, one, *_INDEX, high=2**32 - 1), read(*reader.member(at, one, *names)))
        for at, one in _entries(reader, place, value)
    )
