"""`python -m pevm_numba.bench`: parallel against serial execution, each result compared before its time is shown."""
