"""Every Numba kernel of the package, one file per public module. Kernels take arrays only and check nothing: validate at the door."""
