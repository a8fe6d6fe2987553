"""Binary heaps in arrays: of numbers, and of times with a number each."""

from __future__ import annotations

from .jit import kernel

__all__ = ["pop", "pop_time", "push", "push_time"]


@kernel(bare=True)
def push(heap, size, number):
    """Put a number in the binary heap of `size` entries, least first; returns the new size."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] < number:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = number
    return size + 1


@kernel(bare=True)
def pop(heap, size):
    """Remove the least number (read it at place 0 first); returns the new size."""
    size -= 1
    number = heap[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if number < heap[child]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = number
    return size


@kernel(bare=True)
def push_time(times, ids, size, time, number):
    """Put (time, number) in the binary heap of `size` entries, least time first, least number on ties; returns size."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if times[parent] < time or (times[parent] == time and ids[parent] < number):
            break
        times[i] = times[parent]
        ids[i] = ids[parent]
        i = parent
    times[i] = time
    ids[i] = number
    return size + 1


@kernel(bare=True)
def pop_time(times, ids, size):
    """Remove the least entry (read it at place 0 first); returns the new size."""
    size -= 1
    time = times[size]
    number = ids[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        other = child + 1
        if other < size:
            if times[other] < times[child] or (times[other] == times[child] and ids[other] < ids[child]):
                child = other
        if time < times[child] or (time == times[child] and number < ids[child]):
            break
        times[i] = times[child]
        ids[i] = ids[child]
        i = child
    times[i] = time
    ids[i] = number
    return size
