"""Joining arrays along the last axis in NumPy, and taking them apart again (the notes, S8.12)."""


def concat_forward(x, y, start):
    """`y[..., start : start + C] = x`; x (..., C), y (..., D)."""
    y[..., start : start + x.shape[-1]] = x


def concat_backward(dy, dx, start):
    """`dx = dy[..., start : start + C]`."""
    dx[...] = dy[..., start : start + dx.shape[-1]]
