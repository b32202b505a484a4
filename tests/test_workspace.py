"""Buffers are reused when nobody refers to them, and never before."""

import gc
import weakref

import numpy as np
import pytest

import fastnn as nn
from fastnn.workspace import Workspace, aligned_empty

F32 = np.dtype("float32")


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 0, 4), (7, 3, 2), (1000,)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_alignment(shape, dtype):
    array = aligned_empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or array.ctypes.data % 64 == 0


def test_a_free_array_is_reused():
    space = Workspace()
    address = space.take((4, 3), F32).ctypes.data
    for _ in range(5):
        assert space.take((4, 3), F32).ctypes.data == address
    assert space.n_bytes == 48


def test_an_array_in_use_is_not_reused():
    space = Workspace()
    held = [space.take((4, 3), F32) for _ in range(3)]
    assert len({array.ctypes.data for array in held}) == 3
    for i, array in enumerate(held):
        array[:] = i
    assert [array[0, 0] for array in held] == [0, 1, 2]


@pytest.mark.parametrize(
    "view", [lambda a: a[1:], lambda a: a.reshape(-1), lambda a: a.T, lambda a: a[:, :1][::2], memoryview]
)
def test_views_keep_an_array_taken(view):
    space = Workspace()
    kept = view(space.take((4, 3), F32))
    other = space.take((4, 3), F32)
    assert not np.shares_memory(np.asarray(kept), other)
    del kept, other
    addresses = {space.take((4, 3), F32).ctypes.data for _ in range(3)}
    assert len(addresses) == 1  # both are free again, and the first of them is lent each time
    assert space.n_bytes == 2 * 48


def test_a_container_keeps_an_array_taken():
    space = Workspace()
    saved = {"layer": (space.take((2, 2), F32),)}
    assert space.take((2, 2), F32).ctypes.data != saved["layer"][0].ctypes.data


def test_smaller_batches_get_the_beginning_of_a_larger_array():
    space = Workspace()
    address = space.take((8, 3), F32).ctypes.data
    small = space.take((5, 3), F32)
    assert small.shape == (5, 3)
    assert small.ctypes.data == address
    assert small.flags.c_contiguous
    other = space.take((8, 3), F32)  # the small one still has it
    assert other.ctypes.data != address
    del small, other
    assert space.n_bytes == 2 * 8 * 3 * 4


def test_a_larger_batch_replaces_a_free_smaller_array():
    space = Workspace()
    space.take((5, 3), F32)
    space.take((8, 3), F32)
    assert space.n_bytes == 8 * 3 * 4
    assert space.take((0, 3), F32).shape == (0, 3)


def test_shapes_and_dtypes_do_not_mix():
    space = Workspace()
    a, b, c = space.take((2, 6), F32), space.take((2, 3), F32), space.take((2, 6), np.dtype("float64"))
    assert a.dtype == F32
    assert c.dtype == np.float64
    assert b.shape == (2, 3)
    del a, b, c
    assert space.n_bytes == 48 + 24 + 96


def test_clear_lets_go():
    space = Workspace()
    kept = space.take((2, 2), F32)
    kept[:] = 7
    dropped = weakref.ref(space.take((3, 3), F32))
    space.clear()
    gc.collect()
    assert dropped() is None
    assert space.n_bytes == 0
    assert (kept == 7).all()


def test_steady_steps_allocate_nothing():
    model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(3)], input_shape=(5,), seed=0)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)

    def step(n):
        y = model.forward(x[:n], training=True)
        model.backward(np.ones_like(y))

    for n in (6, 4, 6, 6):
        step(n)
    held = model.workspace.n_bytes
    for n in (6, 6, 4, 6, 3):
        step(n)
        assert model.workspace.n_bytes == held


def test_what_forward_returned_stays_while_it_is_held():
    model = nn.Sequential([nn.Dense(8), nn.Dense(3)], input_shape=(5,), seed=0)
    x = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    y = model.forward(x)
    before = y.copy()
    for _ in range(3):
        model.forward(2 * x)
        model.predict(3 * x)
    assert (y == before).all()
