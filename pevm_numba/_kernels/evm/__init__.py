"""Kernels of the EVM. They work on addresses, so `memory` is the only file that touches memory."""
