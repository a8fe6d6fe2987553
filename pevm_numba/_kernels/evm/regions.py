"""Which memory kernels may touch, in builds that check it: kernels of the EVM know addresses and no bounds."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

__all__ = ["REGIONS", "Regions", "check_function"]

_I64 = ir.IntType(64)


class Regions:
    """The memory that kernels may touch, for builds that check it: rows of (first address, one past the last)."""

    def __init__(self, capacity: int = 1 << 14) -> None:
        #: Number of rows; accesses outside; the first such address; spare page; rows.
        self.table = np.zeros(4 + 2 * capacity, np.int64)
        self.spare = np.zeros(1 << 12, np.uint8)
        self.table[3] = self.spare.ctypes.data
        llvm.add_symbol("pevm_numba_evm_regions", self.table.ctypes.data)

    def add(self, address: int, size: int) -> None:
        """Allow [address, address + size)."""
        n = int(self.table[0])
        self.table[4 + 2 * n : 6 + 2 * n] = address, address + size
        self.table[0] = n + 1

    def remove(self, address: int) -> None:
        """Forget the region that begins at address."""
        n = int(self.table[0])
        rows = self.table[4 : 4 + 2 * n].reshape(n, 2)
        at = np.flatnonzero(rows[:, 0] == address)
        if len(at):
            rows[at[0]] = rows[n - 1]
            self.table[0] = n - 1

    def violation(self) -> int:
        """First address outside all regions that was accessed since the last call; 0 if there was none."""
        found = int(self.table[2])
        self.table[1:3] = 0
        return found

    def checked(self, address: int, size: int) -> int:
        """The address, or that of the spare page, with a note, if [address, address + size) is not in one region."""
        n = int(self.table[0])
        rows = self.table[4 : 4 + 2 * n]
        if size == 0 or bool(((rows[::2] <= address) & (address + size <= rows[1::2])).any()):
            return address
        if self.table[1] == 0:
            self.table[2] = address
        self.table[1] += 1
        return int(self.table[3])


#: Regions of this process.
REGIONS = Regions()


def check_function(module: ir.Module) -> ir.Function:
    """`Regions.checked` as LLVM code, once in each module."""
    name = "pevm_numba_evm_checked"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_I64, [_I64, _I64]), name)
    function.linkage = "linkonce_odr"
    if "pevm_numba_evm_regions" in module.globals:
        table = module.globals["pevm_numba_evm_regions"]
    else:
        table = ir.GlobalVariable(module, _I64, "pevm_numba_evm_regions")
        table.linkage = "external"
    address, size = function.args
    entry, test, inside, next_row, bad, good = (
        function.append_basic_block(n) for n in ("entry", "test", "inside", "next", "bad", "good")
    )
    b = ir.IRBuilder(entry)
    n_rows = b.load(table)
    last = b.add(address, size)
    b.cbranch(b.icmp_signed("==", size, ir.Constant(_I64, 0)), good, test)
    b.position_at_end(test)
    row = b.phi(_I64)
    row.add_incoming(ir.Constant(_I64, 0), entry)
    b.cbranch(b.icmp_signed("<", row, n_rows), inside, bad)
    b.position_at_end(inside)
    at = b.add(b.shl(row, ir.Constant(_I64, 1)), ir.Constant(_I64, 4))
    begin = b.load(b.gep(table, [at]))
    end = b.load(b.gep(table, [b.add(at, ir.Constant(_I64, 1))]))
    fits = b.and_(b.icmp_signed(">=", address, begin), b.icmp_signed("<=", last, end))
    b.cbranch(fits, good, next_row)
    b.position_at_end(next_row)
    row.add_incoming(b.add(row, ir.Constant(_I64, 1)), next_row)
    b.branch(test)
    b.position_at_end(bad)
    first = b.icmp_signed("==", b.load(b.gep(table, [ir.Constant(_I64, 1)])), ir.Constant(_I64, 0))
    place = b.gep(table, [ir.Constant(_I64, 2)])
    b.store(b.select(first, address, b.load(place)), place)
    count = b.gep(table, [ir.Constant(_I64, 1)])
    b.store(b.add(b.load(count), ir.Constant(_I64, 1)), count)
    b.ret(b.load(b.gep(table, [ir.Constant(_I64, 3)])))
    b.position_at_end(good)
    b.ret(address)
    return function
