"""Plain NumPy twins of the compiled kernels: same names, same signatures. Read these first."""
