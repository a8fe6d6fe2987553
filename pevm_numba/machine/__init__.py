"""The micro-op machine: what an operation means and costs. `spec` is the authority; the kernels are tested against it."""
