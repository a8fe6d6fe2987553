"""Small contracts by hand, which keep what they keep where the real ones do: tokens, collections, pairs and a router.

Comments show the stack, its top first. Every contract begins with the selector of the call on it, which stays at the bottom.
They run on any fork from Petersburg on. Unlike the real ones, tokens and collections mint for anybody, and a pair has no
shares: its reserves are what it began with.
"""

from __future__ import annotations

import functools
from typing import Final

from .assembly import assemble
from .hashing import keccak

__all__ = ["FACTORY", "PAIR_CODE_HASH", "ROUTER", "SELECTORS", "call_data", "erc20", "erc721", "pair", "router"]

#: Who makes pairs, and the hash of the code that a pair's address derives from: Uniswap V2 on mainnet.
FACTORY: Final = bytes.fromhex("5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f")
PAIR_CODE_HASH: Final = bytes.fromhex("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f")

#: Where the router is.
ROUTER: Final = bytes.fromhex("7a250d5630b4cf539739df2c5dacb4c659f2488d")

#: What the contracts can be asked.
SELECTORS: Final = {
    "transfer(address,uint256)": 0xA9059CBB,
    "transferFrom(address,address,uint256)": 0x23B872DD,
    "approve(address,uint256)": 0x095EA7B3,
    "mint(address,uint256)": 0x40C10F19,
    "balanceOf(address)": 0x70A08231,
    "allowance(address,address)": 0xDD62ED3E,
    "totalSupply()": 0x18160DDD,
    "setApprovalForAll(address,bool)": 0xA22CB465,
    "ownerOf(uint256)": 0x6352211E,
    "getApproved(uint256)": 0x081812FC,
    "isApprovedForAll(address,address)": 0xE985E9C5,
    "getReserves()": 0x0902F1AC,
    "swap(uint256,uint256,address,bytes)": 0x022C0D9F,
    "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)": 0x38ED1739,
}

_BY_NAME: Final = {signature.partition("(")[0]: selector for signature, selector in SELECTORS.items()}

#: Words of the call's data.
_FIRST, _SECOND, _THIRD = "4 CALLDATALOAD", "0x24 CALLDATALOAD", "0x44 CALLDATALOAD"

#: [key, slot of the mapping] -> [slot of the entry]; it uses the first 64 bytes of memory.
_ENTRY: Final = "0 MSTORE 0x20 MSTORE 0x40 0 KECCAK256"

#: How calls end.
_ENDS: Final = """
true:                                           # []
    1
answer:                                         # [word]
    0 MSTORE  0x20 0 RETURN
fail:
    0 0 REVERT
"""


def _dispatch(*names: str) -> str:
    """To the place with the name of the function that is called."""
    jumps = "".join(f"DUP1 0x{_BY_NAME[name]:08x} EQ @{name} JUMPI\n" for name in names)
    return f"0 CALLDATALOAD 0xe0 SHR\n{jumps}@fail JUMP\n"


def _topic(event: str) -> int:
    return int.from_bytes(keccak(event.encode()), "big")


def call_data(name: str, *words: bytes | int) -> bytes:
    """Data of a call of a function, by its name, with words.

    Examples
    --------
    >>> call_data("ownerOf", 7).hex()[:8], len(call_data("ownerOf", 7))
    ('6352211e', 36)
    """
    filled = (word.to_bytes(32, "big") if isinstance(word, int) else word.rjust(32, b"\0") for word in words)
    return _BY_NAME[name].to_bytes(4, "big") + b"".join(filled)


# -------------------------------------------------------------------- tokens


_ERC20: Final = f"""
    {_dispatch("transfer", "transferFrom", "approve", "mint", "balanceOf", "allowance", "totalSupply")}
transfer:
    {_SECOND} {_FIRST} CALLER  @move JUMP

transferFrom:
    $allowances {_FIRST} {_ENTRY} CALLER {_ENTRY}   # [place]
    DUP1 SLOAD  {_THIRD}                    # [amount, allowed, place]
    DUP2 DUP2 GT  @fail JUMPI               # more than allowed
    SWAP1 SUB  SWAP1 SSTORE                 # []
    {_THIRD} {_SECOND} {_FIRST}
move:                                       # [from, to, amount]
    $balances DUP2 {_ENTRY}                 # [place, from, to, amount]
    DUP1 SLOAD                              # [balance, place, from, to, amount]
    DUP5 DUP2 LT  @fail JUMPI               # too little
    DUP5 SWAP1 SUB  SWAP1 SSTORE            # [from, to, amount]
    $balances DUP3 {_ENTRY}                 # [place, from, to, amount]
    DUP1 SLOAD DUP5 ADD  SWAP1 SSTORE       # [from, to, amount]
    DUP3 0 MSTORE  $Transfer 0x20 0 LOG3    # [amount]
    @true JUMP

approve:
    {_SECOND}  $allowances CALLER {_ENTRY} {_FIRST} {_ENTRY}  SSTORE
    {_SECOND} 0 MSTORE  {_FIRST} CALLER $Approval 0x20 0 LOG3
    @true JUMP

mint:
    {_SECOND}                               # [amount]
    $supply SLOAD DUP2 ADD                  # [total, amount]
    DUP2 DUP2 LT  @fail JUMPI               # more than a word can hold
    $supply SSTORE                          # [amount]
    $balances {_FIRST} {_ENTRY}             # [place, amount]
    DUP1 SLOAD DUP3 ADD  SWAP1 SSTORE       # [amount]
    0 MSTORE  {_FIRST} 0 $Transfer 0x20 0 LOG3
    @true JUMP

balanceOf:
    $balances {_FIRST} {_ENTRY} SLOAD  @answer JUMP
allowance:
    $allowances {_FIRST} {_ENTRY} {_SECOND} {_ENTRY} SLOAD  @answer JUMP
totalSupply:
    $supply SLOAD  @answer JUMP
    {_ENDS}
"""


@functools.cache
def erc20(balances: int, allowances: int, supply: int) -> bytes:
    """Code of a token with its variables in these slots.

    References
    ----------
    ERC-20.

    Examples
    --------
    >>> len(erc20(0, 1, 2))
    508
    """
    return assemble(
        _ERC20, balances=balances, allowances=allowances, supply=supply, Transfer=_topic("Transfer(address,address,uint256)"),
        Approval=_topic("Approval(address,address,uint256)"),
    )  # fmt: skip


_ERC721: Final = f"""
    {_dispatch(
        "transferFrom", "approve", "mint", "setApprovalForAll", "ownerOf", "balanceOf", "getApproved", "isApprovedForAll",
    )}
transferFrom:
    $owners {_THIRD} {_ENTRY}               # [place]
    DUP1 SLOAD  {_FIRST} EQ ISZERO  @fail JUMPI     # not theirs
    {_FIRST} CALLER EQ  @allowed JUMPI
    $approvals {_THIRD} {_ENTRY} SLOAD  CALLER EQ  @allowed JUMPI
    $operators {_FIRST} {_ENTRY} CALLER {_ENTRY} SLOAD  ISZERO @fail JUMPI
allowed:                                    # [place]
    {_SECOND} SWAP1 SSTORE
    0  $approvals {_THIRD} {_ENTRY}  SSTORE
    1  $balances {_FIRST} {_ENTRY}          # [place, 1]
    SWAP1 DUP2 SLOAD SUB  SWAP1 SSTORE      # []
    $balances {_SECOND} {_ENTRY}            # [place]
    1 DUP2 SLOAD ADD  SWAP1 SSTORE          # []
    {_THIRD} {_SECOND} {_FIRST} $Transfer 0 0 LOG4
    STOP

approve:
    $owners {_SECOND} {_ENTRY} SLOAD  CALLER EQ ISZERO  @fail JUMPI
    {_FIRST}  $approvals {_SECOND} {_ENTRY}  SSTORE
    {_SECOND} {_FIRST} CALLER $Approval 0 0 LOG4
    STOP

mint:
    $owners {_SECOND} {_ENTRY}              # [place]
    DUP1 SLOAD  @fail JUMPI                 # there is one
    {_FIRST} SWAP1 SSTORE                   # []
    $balances {_FIRST} {_ENTRY}             # [place]
    1 DUP2 SLOAD ADD  SWAP1 SSTORE          # []
    {_SECOND} {_FIRST} 0 $Transfer 0 0 LOG4
    STOP

setApprovalForAll:
    {_SECOND} ISZERO ISZERO                 # [whether]
    DUP1  $operators CALLER {_ENTRY} {_FIRST} {_ENTRY}  SSTORE
    0 MSTORE  {_FIRST} CALLER $ApprovalForAll 0x20 0 LOG3
    STOP

ownerOf:
    $owners {_FIRST} {_ENTRY} SLOAD         # [owner]
    DUP1 ISZERO @fail JUMPI  @answer JUMP
balanceOf:
    $balances {_FIRST} {_ENTRY} SLOAD  @answer JUMP
getApproved:
    $approvals {_FIRST} {_ENTRY} SLOAD  @answer JUMP
isApprovedForAll:
    $operators {_FIRST} {_ENTRY} {_SECOND} {_ENTRY} SLOAD  @answer JUMP
    {_ENDS}
"""


@functools.cache
def erc721(owners: int, balances: int, approvals: int, operators: int) -> bytes:
    """Code of a collection with its mappings in these slots.

    References
    ----------
    ERC-721, without safe transfers.

    Examples
    --------
    >>> len(erc721(2, 3, 4, 5))
    709
    """
    return assemble(
        _ERC721, owners=owners, balances=balances, approvals=approvals, operators=operators,
        Transfer=_topic("Transfer(address,address,uint256)"), Approval=_topic("Approval(address,address,uint256)"),
        ApprovalForAll=_topic("ApprovalForAll(address,address,bool)"),
    )  # fmt: skip


# -------------------------------------------------------------------- exchange


_PAIR: Final = f"""
    {_dispatch("swap", "getReserves")}
getReserves:
    8 SLOAD
    DUP1 $low AND  0 MSTORE
    DUP1 112 SHR $low AND  0x20 MSTORE
    224 SHR  0x40 MSTORE
    0x60 0 RETURN

swap:
    1 12 SLOAD EQ ISZERO  @fail JUMPI       # called by one that it called
    0 12 SSTORE
    {_FIRST} {_SECOND} OR ISZERO  @fail JUMPI       # asked for nothing
    8 SLOAD                                 # [packed]
    DUP1 $low AND  $reserve0 MSTORE
    DUP1 112 SHR $low AND  $reserve1 MSTORE
    224 SHR  $last MSTORE                   # []
    $reserve0 MLOAD {_FIRST} LT ISZERO  @fail JUMPI
    $reserve1 MLOAD {_SECOND} LT ISZERO  @fail JUMPI
    7 SLOAD 6 SLOAD                         # [token0, token1]
    @paid0 {_FIRST} DUP3  @pay JUMP
paid0:
    @paid1 {_SECOND} DUP4  @pay JUMP
paid1:
    @counted0 SWAP1  @count JUMP
counted0:                                   # [balance0, token1]
    $balance0 MSTORE
    @counted1 SWAP1  @count JUMP
counted1:                                   # [balance1]
    $balance1 MSTORE
    $low $balance0 MLOAD GT  $low $balance1 MLOAD GT  OR  @fail JUMPI   # more than fits
    @rated0 $balance0 MLOAD $reserve0 MLOAD {_FIRST}  @rate JUMP
rated0:                                     # [rated0]
    @rated1 $balance1 MLOAD $reserve1 MLOAD {_SECOND}  @rate JUMP
rated1:                                     # [rated1, rated0]
    MUL
    $reserve0 MLOAD $reserve1 MLOAD MUL  1000000 MUL
    GT  @fail JUMPI                         # the product fell

    $last MLOAD TIMESTAMP SUB  0xffffffff AND       # [elapsed]
    DUP1 ISZERO @same JUMPI                 # prices are summed up once a block
    $reserve0 MLOAD $reserve1 MLOAD 112 SHL DIV     # [price0, elapsed]
    DUP2 MUL  9 SLOAD ADD  9 SSTORE
    $reserve1 MLOAD $reserve0 MLOAD 112 SHL DIV
    DUP2 MUL  10 SLOAD ADD  10 SSTORE
same:
    TIMESTAMP 224 SHL  $balance1 MLOAD 112 SHL OR  $balance0 MLOAD OR  8 SSTORE
    $Sync 0x40 $balance0 LOG1
    1 12 SSTORE
    STOP

pay:                                        # [token, amount, back] -> []
    DUP2 ISZERO @paid JUMPI
    $transfer 224 SHL 0 MSTORE  {_THIRD} 4 MSTORE  DUP2 0x24 MSTORE
    0x20 0 0x44 0 0 DUP6 GAS CALL           # [done, token, amount, back]
    0 MLOAD AND ISZERO  @fail JUMPI
paid:
    POP POP JUMP

count:                                      # [token, back] -> [balance of this pair]
    $balanceOf 224 SHL 0 MSTORE  ADDRESS 4 MSTORE
    0x20 0 0x24 0 DUP5 GAS STATICCALL       # [done, token, back]
    ISZERO @fail JUMPI
    POP  0 MLOAD SWAP1 JUMP

rate:                                       # [out, reserve, balance, back] -> [1000 balance - 3 in]
    SWAP1 SUB                               # [kept, balance, back]
    DUP1 DUP3 GT                            # [whether more came in, kept, balance, back]
    SWAP1 DUP3 SUB MUL                      # [in, balance, back]
    3 MUL  SWAP1 1000 MUL  SUB              # [rated, back]
    SWAP1 JUMP
    {_ENDS}
"""


@functools.cache
def pair() -> bytes:
    """Code of a pair of tokens: those in slots 6 and 7, reserves and their time in slot 8, prices in 9 and 10, lock in 12.

    What is paid out and in must leave the product of the reserves as high as it was, three thousandths of what came in not
    counted. A swap's last argument, data to call the recipient with, is not looked at.

    References
    ----------
    Uniswap v2-core, UniswapV2Pair; whitepaper, 3.2.1 (fee), 2.2 (prices).

    Examples
    --------
    >>> len(pair())
    597
    """
    return assemble(
        _PAIR, low=2**112 - 1, reserve0=0x80, reserve1=0xA0, last=0xC0, balance0=0xE0, balance1=0x100,
        transfer=_BY_NAME["transfer"], balanceOf=_BY_NAME["balanceOf"], Sync=_topic("Sync(uint112,uint112)"),
    )  # fmt: skip


_ROUTER: Final = f"""
    {_dispatch("swapExactTokensForTokens")}
swapExactTokensForTokens:                   # amount, least, path, to, deadline
    TIMESTAMP 0x84 CALLDATALOAD LT  @fail JUMPI     # too late
    0xa0 {_THIRD} EQ  2 0xa4 CALLDATALOAD EQ  AND ISZERO  @fail JUMPI   # where the path is, and its length

    $out CALLDATALOAD $in CALLDATALOAD      # [in, out]
    DUP2 DUP2 LT @sorted JUMPI
    SWAP1
sorted:                                     # [token0, token1]
    96 SHL 0 MSTORE  96 SHL 20 MSTORE
    40 0 KECCAK256                          # [salt]
    $maker 0 MSTORE  21 MSTORE  $code 53 MSTORE
    85 0 KECCAK256  $address AND  $pair MSTORE      # []

    $getReserves 224 SHL 0 MSTORE
    0x40 0 4 0 $pair MLOAD GAS STATICCALL ISZERO  @fail JUMPI
    RETURNDATASIZE 0x40 GT  @fail JUMPI     # no pair
    0x20 MLOAD 0 MLOAD                      # [reserve0, reserve1]
    $out CALLDATALOAD $in CALLDATALOAD LT @ordered JUMPI
    SWAP1
ordered:                                    # [reserve of in, reserve of out]
    1000 MUL  997 {_FIRST} MUL              # [997 amount, 1000 in, out]
    SWAP1 DUP2 ADD  SWAP2 MUL DIV           # [paid]
    {_SECOND} DUP2 LT  @fail JUMPI          # too little
    $paid MSTORE                            # []

    $transferFrom 224 SHL 0 MSTORE  CALLER 4 MSTORE  $pair MLOAD 0x24 MSTORE  {_FIRST} 0x44 MSTORE
    0x20 0 0x64 0 0 $in CALLDATALOAD GAS CALL
    0 MLOAD AND ISZERO  @fail JUMPI

    $swap 224 SHL 0 MSTORE  0 4 MSTORE  0 0x24 MSTORE
    $paid MLOAD  $out CALLDATALOAD $in CALLDATALOAD LT 0x20 MUL 4 ADD  MSTORE   # of the second token if in is the first
    0x64 CALLDATALOAD 0x44 MSTORE  0x80 0x64 MSTORE  0 0x84 MSTORE
    0 0 0xa4 0 0 $pair MLOAD GAS CALL ISZERO  @fail JUMPI

    0x20 0 MSTORE  2 0x20 MSTORE  {_FIRST} 0x40 MSTORE  $paid MLOAD 0x60 MSTORE
    0x80 0 RETURN
fail:
    0 0 REVERT
"""


@functools.cache
def router() -> bytes:
    """Code of a router, which swaps along a path of two tokens.

    References
    ----------
    Uniswap v2-periphery, UniswapV2Router02.

    Examples
    --------
    >>> len(router())
    436
    """
    names = {"in": 0xC4, "out": 0xE4, "pair": 0x100, "paid": 0x120, "address": 2**160 - 1}
    return assemble(
        _ROUTER, **names, maker=int.from_bytes(b"\xff" + FACTORY + bytes(11), "big"),
        code=int.from_bytes(PAIR_CODE_HASH, "big"), getReserves=_BY_NAME["getReserves"],
        transferFrom=_BY_NAME["transferFrom"], swap=_BY_NAME["swap"],
    )  # fmt: skip
