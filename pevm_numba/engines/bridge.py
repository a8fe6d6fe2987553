"""From a kernel's call of machine code to wasmtime's C interface: a few instructions, one function for each number of module.

Transactions are handed over in batches, by their numbers, which are copied to where the module can read them.
"""

from __future__ import annotations

import ctypes
import os
import threading
from string import Template
from typing import Any, Final

import llvmlite.binding as llvm

from .._kernels.shapes import LINKS
from .native import host_machine

__all__ = ["BATCH", "BRIDGES", "Bridges"]

#: Transactions handed over by one call, at most.
BATCH: Final = 256

#: Functions made at a time.
_SOME: Final = 256

#: `hand_over` calls the worker's function of a number (16 bytes each) with three 16-byte arguments: how many transactions,
#: where in the box their numbers are, and where the links are; what goes wrong is noted in a link.
_HAND_OVER: Final = Template("""
define internal void @hand_over(i64 %first, i64 %last, ptr %order, ptr %links, i64 %number) noinline nounwind {
entry:
  %arguments = alloca [3 x [2 x i64]], align 16
  %trap = alloca ptr
  %at.store = getelementptr i64, ptr %links, i64 $store
  %store = load ptr, ptr %at.store
  %at.functions = getelementptr i64, ptr %links, i64 $functions
  %functions = load ptr, ptr %at.functions
  %function = getelementptr [16 x i8], ptr %functions, i64 %number
  %at.box = getelementptr i64, ptr %links, i64 $box
  %box = load i64, ptr %at.box
  %at.batch = getelementptr i64, ptr %links, i64 $batch
  %batch = load i64, ptr %at.batch
  %target = add i64 %box, %batch
  %to = inttoptr i64 %target to ptr
  %here = ptrtoint ptr %links to i64
  %link = sub i64 %here, %box
  %second = getelementptr i8, ptr %arguments, i64 16
  %third = getelementptr i8, ptr %arguments, i64 32
  %at.failed = getelementptr i64, ptr %links, i64 $failed
  %interface = inttoptr i64 $interface to ptr
  br label %loop
loop:
  %p = phi i64 [ %first, %entry ], [ %next, %loop ]
  %left = sub i64 %last, %p
  %count = call i64 @llvm.umin.i64(i64 %left, i64 $most)
  %from = getelementptr i32, ptr %order, i64 %p
  %bytes = shl i64 %count, 2
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  store i64 %count, ptr %arguments
  store i64 %batch, ptr %second
  store i64 %link, ptr %third
  store ptr null, ptr %trap
  %error = call ptr %interface(ptr %store, ptr %function, ptr %arguments, i64 3, ptr %trap)
  %trapped = load ptr, ptr %trap
  %e = ptrtoint ptr %error to i64
  %t = ptrtoint ptr %trapped to i64
  %bad = or i64 %e, %t
  %before = load i64, ptr %at.failed
  %after = or i64 %before, %bad
  store i64 %after, ptr %at.failed
  %next = add i64 %p, %count
  %more = icmp slt i64 %next, %last
  br i1 %more, label %loop, label %out
out:
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.umin.i64(i64, i64)
""")

_BRIDGE: Final = Template("""
define void @bridge_$number(i64 %first, i64 %last, ptr %order, ptr %links) nounwind {
  tail call void @hand_over(i64 %first, i64 %last, ptr %order, ptr %links, i64 $number)
  ret void
}
""")

def _text(first: int, last: int) -> str:
    """Functions first to last - 1."""
    from wasmtime import _ffi

    interface = ctypes.cast(_ffi.dll.wasmtime_func_call_unchecked, ctypes.c_void_p).value
    links = {name: LINKS.index(name) for name in ("store", "functions", "box", "batch", "failed")}
    head = _HAND_OVER.substitute(links, most=BATCH, interface=interface)
    return head + "".join(_BRIDGE.substitute(number=number) for number in range(first, last))


class Bridges:
    """The functions of this process, which are made some hundreds at a time."""

    def __init__(self) -> None:
        self._addresses: list[int] = []
        self._engines: list[Any] = []
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)  # another thread may have held the lock

    def renew(self) -> None:
        """With a lock that nobody holds."""
        self._lock = threading.Lock()

    def first(self, count: int) -> list[int]:
        """Addresses of the first so many."""
        with self._lock:
            while len(self._addresses) < count:
                start = len(self._addresses)
                numbers = range(start, start + _SOME)
                engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_text(start, start + _SOME)), host_machine())
                engine.finalize_object()
                self._addresses += [engine.get_function_address(f"bridge_{number}") for number in numbers]
                self._engines.append(engine)  # the code lives as long as its engine
            return self._addresses[:count]


BRIDGES: Final = Bridges()
