"""Keccak-256 against published vectors, at and around the rate of 136 bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pevm_numba import programs
from pevm_numba.block import Block
from pevm_numba.execute.run import execute
from pevm_numba.machine.spec import keccak256

# ShortMsgKAT_256.txt of the Keccak team's known-answer tests (0, 1, 135, 136, 137 bytes)
KNOWN = [
    ("", "C5D2460186F7233C927E7DB2DCC703C0E500B653CA82273B7BFAD8045D85A470"),
    ("CC", "EEAD6DBFC7340A56CAEDC044696A168870549A6A7F6F56961E84A54BD9970B8A"),
    (
        "B771D5CEF5D1A41A93D15643D7181D2A2EF0A8E84D91812F20ED21F147BEF732BF3A60EF4067C3734B85BC8CD471780F10DC9E8291B5"
        "8339A677B960218F71E793F2797AEA349406512829065D37BB55EA796FA4F56FD8896B49B2CD19B43215AD967C712B24E5032D065232"
        "E02C127409D2ED4146B9D75D763D52DB98D949D3B0FED6A8052FBB",
        "BD6F5492582A7C1B116304DE28314DF9FFFE95B0DA11AF52FE9440A717A34859",
    ),
    (
        "B32D95B0B9AAD2A8816DE6D06D1F86008505BD8C14124F6E9A163B5A2ADE55F835D0EC3880EF50700D3B25E42CC0AF050CCD1BE5E555"
        "B23087E04D7BF9813622780C7313A1954F8740B6EE2D3F71F768DD417F520482BD3A08D4F222B4EE9DBD015447B33507DD50F3AB4247"
        "C5DE9A8ABD62A8DECEA01E3B87C8B927F5B08BEB37674C6F8E380C04",
        "E717A7769448ABBE5FEF8187954A88AC56DED1D22E63940AB80D029585A21921",
    ),
    (
        "04410E31082A47584B406F051398A6ABE74E4DA59BB6F85E6B49E8A1F7F2CA00DFBA5462C2CD2BFDE8B64FB21D70C083F11318B56A52"
        "D03B81CAC5EEC29EB31BD0078B6156786DA3D6D8C33098C5C47BB67AC64DB14165AF65B44544D806DDE5F487D5373C7F9792C299E968"
        "6B7E5821E7C8E2458315B996B5677D926DAC57B3F22DA873C601016A0D",
        "A95D50B50B4545F0947441DF74A1E9D74622EB3BAA49C1BBFC3A0CCE6619C1AA",
    ),
    # 1,000 bytes i mod 251; the hash by PyCryptodome 3.23
    (bytes(i % 251 for i in range(1000)).hex(), "af692982e84a5a9688359025660a7857cd28ee7c8d867cfa1677baf2e6d1f63b"),
]


def kernel_hashes(messages: list[bytes]) -> list[str]:
    """Hashes by the kernel: what KECCAK leaves on the stack."""
    outputs = execute(Block.from_programs([[("KECCAK", data)] for data in messages]), "serial").output
    return [f"{value:064x}" for value in programs.integers(outputs)]


@pytest.mark.parametrize(("message", "expected"), KNOWN, ids=lambda text: f"{len(text) // 2} bytes")
def test_published_vectors_come_out(message: str, expected: str) -> None:
    data = bytes.fromhex(message)
    assert keccak256(data).hex() == expected.lower()
    assert kernel_hashes([data]) == [expected.lower()]


def test_it_is_not_sha3() -> None:
    assert keccak256(b"").hex() != hashlib.sha3_256(b"").hexdigest()


@given(st.lists(st.integers(0, 420) | st.sampled_from([135, 136, 137, 271, 272]), max_size=20), st.integers(0, 2**32))
def test_messages_of_mixed_length_hashed_together_equal_the_spec(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    messages = [rng.bytes(n) for n in lengths]
    assert kernel_hashes(messages) == [keccak256(data).hex() for data in messages]
