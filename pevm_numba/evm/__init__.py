"""The second machine: real Ethereum bytecode, fork by fork, on the same blocks, schedules and executors as the first."""
