"""Every Numba kernel of the package. Kernels take arrays only and check nothing: validate at the door."""
