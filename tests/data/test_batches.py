"""Batches: order, views, conversion, memory maps, splits and checks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.data.batches import Batches, check_finite, one_hot, train_validation_split
from fastnn.errors import ShapeError


def numbered(n, features=3):
    """Row i holds i everywhere, so batches tell which samples they have."""
    return np.repeat(np.arange(n, dtype=np.float32)[:, None], features, 1), np.arange(n)


def seen(batches, epoch=0, start=0):
    return [y.tolist() for _, y in batches.epoch(epoch, start)]


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 60), size=st.integers(1, 70), shuffle=st.booleans(), epoch=st.integers(0, 5))
def test_every_sample_once_per_epoch(n, size, shuffle, epoch):
    x, y = numbered(n)
    batches = Batches(x, y, size, shuffle, seed=1)
    rows = list(batches.epoch(epoch))
    assert len(rows) == len(batches) == -(-n // size)
    assert all(len(b) == size for b, _ in rows[:-1])
    for xb, yb in rows:
        np.testing.assert_array_equal(xb[:, 0], yb)
    all_labels = np.concatenate([b for _, b in rows])
    np.testing.assert_array_equal(np.sort(all_labels), np.arange(n))
    if not shuffle:
        np.testing.assert_array_equal(all_labels, np.arange(n))


def test_order_depends_on_seed_and_epoch_only():
    x, y = numbered(50)
    one, two = Batches(x, y, 8, seed=7), Batches(x, y, 8, seed=7)
    for _ in range(3):
        list(two)  # what was read before does not matter
    assert seen(one, 4) == seen(two, 4)
    assert seen(one, 4) != seen(one, 5)
    assert seen(one, 4) != seen(Batches(x, y, 8, seed=8), 4)


def test_resume_inside_an_epoch():
    x, y = numbered(50)
    batches = Batches(x, y, 8, seed=7)
    for start in range(len(batches) + 1):
        assert seen(batches, 2, start) == seen(batches, 2)[start:]


def test_iterating_takes_epoch_after_epoch():
    x, y = numbered(20)
    batches = Batches(x, y, 8, seed=0)
    for epoch in range(3):
        assert [b.tolist() for _, b in batches] == seen(batches, epoch)


def test_drop_last_and_whole_set():
    x, y = numbered(10)
    assert [len(b) for b in seen(Batches(x, y, 4, drop_last=True))] == [4, 4]
    assert [len(b) for b in seen(Batches(x, y, None))] == [10]


def test_without_shuffle_batches_are_views():
    x, y = numbered(10)
    for xb, yb in Batches(x, y, 4, shuffle=False).epoch(0):
        assert np.shares_memory(xb, x) and np.shares_memory(yb, y)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_are_scaled_as_floats_are(shuffle, dtype):
    x = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 1), dtype=np.uint8)
    whole = x / np.dtype(dtype).type(255)
    one = Batches(x, batch_size=8, shuffle=shuffle, seed=0, dtype=dtype)
    two = Batches(whole, batch_size=8, shuffle=shuffle, seed=0)
    for (a, _), (b, _) in zip(one.epoch(0), two.epoch(0)):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.int16),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(">f4"),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.tolist(),
    ],
    ids=["int", "half", "big-endian", "fortran", "strided", "list"],
)
def test_other_layouts_and_types(convert, shuffle):
    x, y = numbered(11)
    for xb, yb in Batches(convert(x), y, 4, shuffle, seed=0, dtype="float32").epoch(0):
        assert xb.dtype == np.float32 and xb.flags.c_contiguous and xb.dtype.isnative
        np.testing.assert_array_equal(xb, np.repeat(yb[:, None], 3, 1))


def test_dtype_of_batches():
    x, y = numbered(6)
    assert next(Batches(x.astype(np.float64), y).epoch(0))[0].dtype == np.float64
    assert next(Batches(x.astype(np.int64), y).epoch(0))[0].dtype == np.float32
    xb, yb = next(Batches(x, x.astype(np.float64), dtype="float32").epoch(0))
    assert xb.dtype == yb.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.int64])
def test_labels_become_int64_unscaled(dtype):
    x, _ = numbered(4)
    y = np.array([1, 0, 1, 1], dtype)
    yb = next(Batches(x, y, 4, shuffle=False).epoch(0))[1]
    assert yb.dtype == np.int64
    np.testing.assert_array_equal(yb, [1, 0, 1, 1])


def test_rows_of_bytes_as_targets_are_not_scaled_but_images_are():
    x, _ = numbered(2)
    ones = np.eye(2, dtype=np.uint8)
    np.testing.assert_array_equal(next(Batches(x, ones, shuffle=False).epoch(0))[1], np.eye(2))
    images = np.full((2, 3, 3), 255, np.uint8)
    np.testing.assert_array_equal(next(Batches(x, images, shuffle=False).epoch(0))[1], np.ones((2, 3, 3)))


def test_targets_that_are_the_input_are_gathered_once():
    x, _ = numbered(10)
    for xb, yb in Batches(x, x, 4, seed=0).epoch(0):
        assert xb is yb


def test_no_targets_and_weights():
    x, y = numbered(10)
    assert next(Batches(x, seed=0).epoch(0))[1] is None
    for _, yb, w in Batches(x, y, 4, seed=0, sample_weight=np.arange(10) / 2).epoch(0):
        assert w.dtype == np.float32
        np.testing.assert_array_equal(w, yb / 2)


def test_kept_batches_stay_valid():
    x, y = numbered(40)
    kept = list(Batches(x, y, 8, seed=3))
    np.testing.assert_array_equal(np.sort(np.concatenate([b[:, 0] for b, _ in kept])), np.arange(40))
    view = next(Batches(x, y, 40, seed=3).epoch(0))[0][:5]
    copy = view.copy()
    list(Batches(x, y, 40, seed=4))
    np.testing.assert_array_equal(view, copy)


def test_steady_loop_allocates_nothing_that_grows():
    x = np.zeros((2048, 28, 28, 1), np.uint8)
    batches = Batches(x, np.arange(2048), 256, seed=0)
    for _ in batches.epoch(0):
        pass
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in batches.epoch(1):
            pass
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    bytes_of_one_batch = 256 * 28 * 28
    assert now - before < 2000
    assert peak - before < bytes_of_one_batch / 2  # NumPy's own buffer for conversions takes up to 70 kB


@pytest.mark.parametrize("shuffle", [True, False])
def test_memory_map(tmp_path, shuffle):
    rows = np.arange(30, dtype=np.uint8)[:, None].repeat(4, 1)
    rows.tofile(tmp_path / "x.bin")
    x = np.memmap(tmp_path / "x.bin", np.uint8, "r", shape=(30, 4))
    labels = np.arange(30)
    batches = Batches(x, labels, 8, shuffle, seed=0, indices=np.arange(0, 30, 2))
    assert np.shares_memory(batches._x.array, x)
    for xb, yb in batches.epoch(0):
        np.testing.assert_array_equal(xb, (rows[yb] / np.float32(255)))
        assert (yb % 2 == 0).all()


def test_indices_choose_samples():
    x, y = numbered(10)
    batches = Batches(x, y, 2, shuffle=False, indices=[7, 1, 5])
    assert batches.n_samples == 3
    assert seen(batches) == [[7, 1], [5]]
    shuffled = seen(Batches(x, y, None, seed=0, indices=[7, 1, 5]))
    assert sorted(shuffled[0]) == [1, 5, 7]


def test_seeds():
    x, y = numbered(30)
    drawn = Batches(x, y, 4)
    assert seen(drawn) == seen(Batches(x, y, 4, seed=drawn.seed))
    one, two = (Batches(x, y, 4, seed=np.random.default_rng(1)) for _ in range(2))
    assert seen(one) == seen(two)


X, Y = numbered(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(x=X, y=Y[:9]), ShapeError, "y: expected 10 rows.* Received: 9 rows"),
        (dict(x=X, sample_weight=np.ones(9)), ShapeError, "sample_weight: expected 10 rows"),
        (dict(x=X, sample_weight=np.ones((10, 1))), ShapeError, r"sample_weight: expected shape \(10,\)"),
        (dict(x=X[:0]), ValueError, r"x: expected at least one sample. Received: x of shape \(0, 3\)"),
        (dict(x=3.0), ShapeError, r"x: expected an array \(N, ...\)"),
        (dict(x=np.array(["a", "b"])), TypeError, "x: expected numbers. Received: x of dtype <U1"),
        (dict(x=X, y=np.array(["a"] * 10)), TypeError, "np.unique"),
        (dict(x=X * 1j), TypeError, "x: expected numbers"),
        (dict(x=X, batch_size=0), ValueError, "batch_size: expected an integer >= 1 or None"),
        (dict(x=X, batch_size=2.5), ValueError, "batch_size=2.5"),
        (dict(x=X, batch_size=11, drop_last=True), ValueError, "No batch would be left"),
        (dict(x=X, seed=-1), ValueError, "seed: expected an integer >= 0"),
        (dict(x=X, dtype="int32"), TypeError, "dtype: expected float32 or float64"),
        (dict(x=X, indices=[10]), ValueError, "indices: expected numbers from 0 to 9. Received: 10 to 10"),
        (dict(x=X, indices=[-1]), ValueError, "indices: expected numbers"),
        (dict(x=X, indices=[0.5]), ShapeError, "indices: expected integers"),
        (dict(x=X, indices=[]), ValueError, "at least one sample"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Batches(**arguments)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0, 4)])
def test_epoch_out_of_range(epoch, start):
    with pytest.raises(ValueError, match="start_batch from 0 to 3"):
        Batches(X, Y, 4).epoch(epoch, start)  # at once, not at the first batch


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), fraction=st.floats(0.05, 0.95),
       seed=st.integers(0, 5))  # fmt: skip
def test_stratified_split(counts, fraction, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3 - 1, counts))
    n_validation = round(len(y) * fraction)
    if not 0 < n_validation < len(y):
        with pytest.raises(ValueError, match="fraction"):
            train_validation_split(y, y, fraction, seed)
        return
    train, validation = train_validation_split(y, y, fraction, seed)
    assert len(validation) == n_validation
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y)))
    got = np.array([(y[validation] == label).sum() for label in np.unique(y)])
    share = np.array(counts) * n_validation / len(y)
    assert (np.abs(got - share) < 1 + 1e-9).all()


def test_single_samples_go_to_training():
    y = np.array([0] * 20 + [1] * 20 + [2])
    for seed in range(10):
        train, _ = train_validation_split(y, y, 0.2, seed)
        assert 2 in y[train]


def test_split_is_random_and_repeatable():
    y = np.arange(100) % 3
    one, two, three = (train_validation_split(y, y, 0.3, seed)[1].tolist() for seed in (1, 1, 2))
    assert one == two != three
    assert one == sorted(one)
    # each sample is chosen about as often as the others
    often = np.zeros(30)
    for seed in range(300):
        often[train_validation_split(y[:30], y[:30], 0.3, seed)[1]] += 1
    assert often.min() > 50 and often.max() < 140


@pytest.mark.parametrize("y", [None, np.linspace(0, 1, 20), np.eye(20)])
def test_split_without_labels(y):
    train, validation = train_validation_split(np.zeros((20, 2)), y, 0.25)
    assert len(train) == 15 and len(validation) == 5


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, 0.001, float("nan")])
def test_split_needs_both_parts(fraction):
    with pytest.raises(ValueError, match="fraction: expected both parts"):
        train_validation_split(np.zeros(20), fraction=fraction)


def test_split_checks_lengths():
    with pytest.raises(ShapeError, match="y: expected 20 rows"):
        train_validation_split(np.zeros(20), np.zeros(19))


def test_one_hot():
    np.testing.assert_array_equal(one_hot([2, 0, 1]), np.eye(3)[[2, 0, 1]])
    assert one_hot([1], 4, "float64").dtype == np.float64
    assert one_hot([1], 4).shape == (1, 4)
    assert one_hot([], 4).shape == (0, 4)
    with pytest.raises(ValueError, match=r"labels: expected numbers from 0 to 1\. Received: 0 to 2"):
        one_hot([0, 2], 2)
    with pytest.raises(ValueError, match="Received: -1"):
        one_hot([-1, 0])
    with pytest.raises(ShapeError, match=r"expected shape \(N,\)"):
        one_hot(np.zeros((3, 1), int))
    with pytest.raises(TypeError, match="expected integers"):
        one_hot([0.5])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (700, 500), (999, 999)])
def test_check_finite_says_where(bad, where):
    x = np.zeros((1000, 1000), np.float32)
    check_finite(x)
    x[where] = bad
    message = rf"pixels: expected finite numbers. Received: {bad} at index \({where[0]}, {where[1]}\)"
    with pytest.raises(ValueError, match=message):
        check_finite(x, "pixels")


def test_check_finite_other_arrays():
    for x in (np.zeros((0, 3)), np.arange(3), [1.0, 2.0], 1.0, np.zeros((3, 0))):
        check_finite(x)
    with pytest.raises(ValueError, match="finite"):
        check_finite([1.0, np.nan])
