"""Convolution against its twin: every algorithm, geometry, dtype and number of threads."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnn._ext import conv as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import conv as reference

ALGORITHMS = ["auto", "direct", "im2col"]
PLAIN = ((1, 1), (0, 0, 0, 0), (1, 1))
SAME = ((1, 1), (1, 1, 1, 1), (1, 1))


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


class Case:
    """The arrays of a convolution in float64."""

    def __init__(self, x_shape, filters, kernel, stride, padding, dilation, groups=1, seed=0):
        rng = np.random.default_rng(seed)
        n, h, w, c = x_shape
        oh = (h + padding[0] + padding[1] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
        ow = (w + padding[2] + padding[3] - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
        self.x = rng.standard_normal(x_shape)
        self.weight = rng.standard_normal((filters, *kernel, c // groups))
        self.bias = rng.standard_normal(filters)
        self.da = rng.standard_normal((n, oh, ow, filters))
        self.geometry = (stride, padding, dilation, groups)

    def run(self, kernels, dtype="float64", accumulate=False, bias=True, activation="linear", **options):
        """y, dx, dw, db; the outputs start as NaN, so that what is not written shows."""
        x, weight, b, da = (a.astype(dtype) for a in (self.x, self.weight, self.bias, self.da))
        y, dx = np.full_like(da, np.nan), np.full_like(x, np.nan)
        dw, db = (np.full_like(a, 1 if accumulate else np.nan) for a in (weight, b))
        b, db = (b, db) if bias else (None, None)
        kernels.conv2d_forward(x, weight, b, y, *self.geometry, activation, 0.1, **options)
        kernels.conv2d_backward_input(da, weight, dx, *self.geometry, **options)
        kernels.conv2d_backward_weight(x, da, dw, db, *self.geometry, accumulate, **options)
        return y, dx, dw, db


def assert_same(received, expected, dtype, case):
    """Rounding errors beside the size of a sum of so many products of standard normal numbers."""
    window = case.weight[:1].size
    pixels = case.da[..., :1].size
    terms = {"y": window, "dx": case.weight[..., :1].size, "dw": pixels, "db": pixels}
    for name, a, b in zip(terms, received, expected):
        if b is None:
            continue
        scale = max(1.0, np.sqrt(terms[name]), np.abs(b).max(initial=0))
        error = {"float32": 1e-5, "float64": 1e-13}[dtype] * scale
        np.testing.assert_allclose(a, b, rtol=0, atol=error, err_msg=name)


def check(case, dtype, **options):
    algorithm = options.pop("algorithm", "auto")
    expected = case.run(reference, **options)
    assert_same(case.run(compiled, dtype, algorithm=algorithm, **options), expected, dtype, case)


@st.composite
def cases(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    c = groups * draw(st.sampled_from([1, 2, 3, 16, 19]))
    filters = groups * draw(st.sampled_from([1, 5, 8, 16, 37]))
    kernel, stride, dilation = (tuple(draw(st.integers(1, 4)) for _ in range(2)) for _ in range(3))
    padding = tuple(draw(st.integers(0, 4)) for _ in range(4))
    n, h, w = draw(st.integers(0, 9)), draw(st.integers(1, 13)), draw(st.integers(1, 20))
    assume(h + padding[0] + padding[1] > (kernel[0] - 1) * dilation[0])
    assume(w + padding[2] + padding[3] > (kernel[1] - 1) * dilation[1])
    return Case((n, h, w, c), filters, kernel, stride, padding, dilation, groups)


@settings(max_examples=200, deadline=None)
@given(
    cases(), st.sampled_from(["float32", "float64"]), st.sampled_from(ALGORITHMS), st.booleans(),
    st.booleans(), st.sampled_from(["linear", "relu", "leaky_relu", "tanh"]),
)  # fmt: skip
def test_equals_twin(case, dtype, algorithm, accumulate, bias, activation):
    check(case, dtype, algorithm=algorithm, accumulate=accumulate, bias=bias, activation=activation)


def test_twin_equals_definition():
    """The sum of the definition, written out."""
    stride, padding, dilation = (2, 1), (1, 0, 2, 1), (1, 2)
    case = Case((2, 5, 6, 3), 4, (3, 2), stride, padding, dilation)
    y, _, _, _ = case.run(reference)
    expected = np.zeros_like(y) + case.bias
    for n, oh, ow, f in np.ndindex(y.shape):
        for kh, kw in product(range(3), range(2)):
            ih, iw = oh * 2 - 1 + kh, ow - 2 + kw * 2
            if 0 <= ih < 5 and 0 <= iw < 6:
                expected[n, oh, ow, f] += case.x[n, ih, iw] @ case.weight[f, kh, kw]
    np.testing.assert_allclose(y, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gradients_are_adjoint(dtype, algorithm):
    """<da, conv(x, w)> = <dx, x> = <dw, w> for a convolution without bias."""
    case = Case((3, 9, 8, 5), 7, (3, 4), (2, 1), (2, 1, 0, 3), (1, 2))
    y, dx, dw, _ = case.run(compiled, dtype, bias=False, algorithm=algorithm)
    product = np.vdot(case.da, y)
    rtol = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose([np.vdot(dx, case.x), np.vdot(dw, case.weight)], product, rtol=rtol)


LARGE = {
    "several blocks of the inner size": Case((2, 9, 9, 130), 70, (3, 3), *SAME),
    "pieces of a kernel row": Case((3, 4, 4, 700), 33, (3, 3), *SAME),
    "groups of small images": Case((37, 4, 4, 32), 40, (3, 3), *SAME),
    "many pixels": Case((3, 33, 31, 16), 24, (3, 3), *SAME),
    "lenet 1": Case((9, 28, 28, 1), 6, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1)),
    "lenet 2": Case((9, 14, 14, 6), 16, (5, 5), *PLAIN),
    "few channels, stride 2": Case((11, 17, 15, 5), 7, (3, 6), (2, 2), (1, 2, 3, 0), (1, 1)),
    "few channels, several panels": Case((3, 12, 13, 7), 10, (4, 9), (1, 1), (0, 3, 8, 1), (2, 1)),
    "few channels, rows in no window": Case((2, 15, 14, 5), 6, (3, 6), (5, 3), (0, 0, 0, 0), (1, 1)),
    "three channels": Case((5, 9, 10, 3), 6, (3, 5), (1, 1), (1, 1, 2, 2), (1, 1)),
    "few filters, wide windows": Case((11, 9, 16, 10), 8, (3, 3), (1, 2), (1, 0, 1, 2), (2, 1)),
    "few filters, windows of several panels": Case((3, 8, 12, 9), 7, (2, 5), *PLAIN),
    "stride 2": Case((2, 17, 18, 20), 40, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    "1x1": Case((5, 12, 12, 64), 96, (1, 1), *PLAIN),
    "1x1 stride 2": Case((2, 9, 9, 20), 30, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    "stem": Case((2, 30, 30, 3), 64, (7, 7), (2, 2), (3, 3, 3, 3), (1, 1)),
    "dilation": Case((2, 15, 15, 16), 32, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "groups": Case((2, 10, 10, 64), 96, (3, 3), *SAME, groups=4),
    "depthwise": Case((3, 11, 13, 70), 70, (3, 3), (2, 1), (1, 1, 1, 1), (1, 2), groups=70),
    "winograd 5x5": Case((2, 9, 10, 40), 48, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1)),
    "window larger than the image": Case((9, 2, 3, 8), 8, (5, 5), (1, 1), (4, 4, 4, 4), (1, 1)),
    "windows in the padding only": Case((2, 3, 3, 4), 20, (2, 2), (1, 1), (4, 4, 4, 4), (1, 1)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LARGE)
def test_large(name, dtype):
    check(LARGE[name], dtype, activation="relu")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", LARGE)
def test_threads_give_the_same_bits(name, algorithm):
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        results.append(LARGE[name].run(compiled, "float32", algorithm=algorithm))
    for one, other in pairwise(results):
        for a, b in zip(one, other):
            assert a.tobytes() == b.tobytes()


def test_batch_does_not_change_the_bits():
    """A pixel's sum has the same order whatever the number of images."""
    case = Case((11, 6, 6, 8), 24, (3, 3), *SAME)
    y, dx, _, _ = case.run(compiled, "float32")
    case.x, case.da = case.x[:1], case.da[:1]
    y1, dx1, _, _ = case.run(compiled, "float32")
    assert y[:1].tobytes() == y1.tobytes()
    assert dx[:1].tobytes() == dx1.tobytes()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty(algorithm):
    check(Case((0, 5, 5, 3), 4, (3, 3), *SAME), "float32", algorithm=algorithm)
    check(Case((0, 5, 5, 3), 4, (3, 3), *SAME), "float32", algorithm=algorithm, accumulate=True)
    check(Case((2, 5, 5, 3), 0, (3, 3), *SAME), "float32", algorithm=algorithm)
    check(Case((2, 5, 5, 0), 4, (3, 3), *SAME), "float32", algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nan_stays_visible_where_it_is_seen(algorithm):
    case = Case((1, 8, 8, 16), 16, (3, 3), *SAME)
    case.x[0, 3, 4, 5] = np.nan
    y, _, dw, _ = case.run(compiled, "float32", algorithm=algorithm, activation="relu")
    seen = np.zeros((8, 8), bool)
    seen[2:5, 3:6] = True
    np.testing.assert_array_equal(np.isnan(y[0]).all(axis=-1), seen)
    np.testing.assert_array_equal(np.isnan(y[0]).any(axis=-1), seen)
    assert np.isnan(dw[..., 5]).all()
    assert np.isfinite(np.delete(dw, 5, axis=-1)).all()


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["float32", "float64"]))
def test_im2col_and_col2im(case, dtype):
    """Equal to the twins, and transposes of each other: <im2col(x), c> = <x, col2im(c)>."""
    x, kernel = case.x.astype(dtype), case.weight.shape[1:3]
    cols = np.full((case.da[..., 0].size, kernel[0] * kernel[1] * x.shape[-1]), np.nan, dtype)
    expected, back, expected_back = np.empty_like(cols), np.full_like(x, np.nan), np.empty_like(x)
    geometry = (kernel, *case.geometry[:3])
    compiled.im2col(x, cols, *geometry)
    reference.im2col(x, expected, *geometry)
    np.testing.assert_array_equal(cols, expected)
    weights = np.random.default_rng(1).standard_normal(cols.shape).astype(dtype)
    compiled.col2im(weights, back, *geometry)
    reference.col2im(weights, expected_back, *geometry)
    np.testing.assert_allclose(back, expected_back, rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)
    scale = np.sqrt(np.vdot(cols, cols) * np.vdot(weights, weights)) + 1
    assert abs(np.vdot(cols, weights) - np.vdot(x, back)) <= scale * (1e-5 if dtype == "float32" else 1e-13)


PREPARED = {  # case -> algorithms
    "many pixels": ["direct", "im2col", "auto"],
    "pieces of a kernel row": ["direct", "winograd", "auto"],
    "groups of small images": ["direct", "winograd", "auto"],
    "lenet 1": ["direct", "auto"],
    "groups": ["direct", "auto"],
    "depthwise": ["direct", "auto"],
    "stride 2": ["direct", "im2col"],
    "winograd 5x5": ["direct", "winograd", "auto"],
}


def forward(case, dtype, images, algorithm, prepared):
    x, weight, bias, y = (
        a.astype(dtype) for a in (case.x[:images], case.weight, case.bias, case.da[:images])
    )
    y.fill(np.nan)
    compiled.conv2d_forward(x, weight, bias, y, *case.geometry, "relu", 0.0, algorithm, prepared)
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "algorithm"), [(name, a) for name in PREPARED for a in PREPARED[name]])
def test_prepared_weights_give_the_same_bits(name, algorithm, dtype):
    """For the batch that was named and for others, with one thread and more."""
    case = LARGE[name]
    weight = case.weight.astype(dtype)
    chosen, prepared = compiled.conv2d_prepare(weight, (1, *case.x.shape[1:]), *case.geometry, algorithm)
    assert chosen in (["direct", "winograd"] if algorithm == "auto" else [algorithm])
    if name != "lenet 1":  # whether it is planar depends on the width of a vector
        assert (prepared is None) == (chosen == "im2col" or name == "depthwise")
    if prepared is not None:
        assert (prepared.dtype, prepared.ndim) == (weight.dtype, 1)
        assert prepared.ctypes.data % 64 == 0
    for images in (1, len(case.x), 0):
        expected = forward(case, dtype, images, chosen, None)
        assert np.isfinite(expected).all()
        for n in (1, 3):
            set_num_threads(n)
            assert forward(case, dtype, images, chosen, prepared).tobytes() == expected.tobytes()


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_prepared_weights_are_read(algorithm):
    """Bits would be the same, too, if the kernel did the work again."""
    case = Case((5, 6, 6, 32), 40, (3, 3), *SAME)
    case.bias[:] = 0
    _, prepared = compiled.conv2d_prepare(case.weight, case.x.shape, *case.geometry, algorithm)
    y = forward(case, "float64", 5, algorithm, 2 * prepared)
    np.testing.assert_array_equal(y, 2 * forward(case, "float64", 5, algorithm, None))
    assert y.any()


def test_prepared_follows_the_rule_of_winograd():
    """Filters that cost no transform pay for smaller images: 64 pixels instead of 128."""
    weight = np.zeros((32, 3, 3, 32), "f")
    for shape, name in [((1, 8, 8, 32), "winograd"), ((1, 7, 9, 32), "direct"), ((0, 8, 8, 32), "direct")]:
        assert compiled.conv2d_prepare(weight, shape, *SAME)[0] == name
    assert compiled.conv2d_prepare(weight, (1, 8, 8, 64), *SAME, 2)[0] == "direct"


@pytest.mark.parametrize("name", ["groups of small images", "winograd 5x5"])
def test_auto_is_winograd_where_that_pays(name):
    case = LARGE[name]
    results = (case.run(compiled, algorithm=a) for a in ("auto", "winograd", "direct"))
    for auto, winograd, direct in zip(*results):
        np.testing.assert_array_equal(auto, winograd)
        assert (auto != direct).any() or direct.ndim == 1  # rounded otherwise; db is a plain sum


@pytest.mark.parametrize("name", ["stride 2", "1x1", "dilation", "groups", "stem", "wide padding"])
def test_winograd_is_for_some_convolutions(name):
    case = LARGE.get(name) or Case((1, 9, 9, 4), 4, (5, 5), (1, 1), (5, 0, 0, 0), (1, 1))
    with pytest.raises(ValueError, match=r"algorithm: expected .* 'winograd' is for 3x3 and 5x5 kernels"):
        case.run(compiled, algorithm="winograd")


def test_prepare_is_checked():
    values = arguments()
    x, weight, geometry = values["x"], values["weight"], SAME
    with pytest.raises(ValueError, match=r"input_shape: expected four numbers .* Received: \(5, 6, 4\)"):
        compiled.conv2d_prepare(weight, (5, 6, 4), *geometry)
    with pytest.raises(ValueError, match="weight: expected length 5 along axis 3"):
        compiled.conv2d_prepare(weight, (2, 5, 6, 5), *geometry)
    with pytest.raises(ValueError, match="algorithm: expected"):
        compiled.conv2d_prepare(weight, x.shape, *geometry, 1, "fft")
    _, prepared = compiled.conv2d_prepare(weight, x.shape, *geometry, 1, "winograd")
    run = compiled.conv2d_forward
    run(**values, algorithm="winograd", prepared=prepared)
    for algorithm in ("direct", "im2col", "auto"):
        with pytest.raises(ValueError, match="prepared: expected what conv2d_prepare returned"):
            run(**values, algorithm=algorithm, prepared=prepared)
    with pytest.raises(ValueError, match="prepared: expected what conv2d_prepare returned"):
        run(**values, algorithm="winograd", prepared=prepared[:-1])
    with pytest.raises(TypeError, match="prepared: expected dtype float32"):
        run(**values, algorithm="winograd", prepared=prepared.astype("float64"))


def arguments():
    """Valid arguments of `conv2d_forward` by name."""
    return {
        "x": np.ones((2, 5, 6, 4), "f"), "weight": np.ones((3, 3, 3, 4), "f"), "bias": np.ones(3, "f"),
        "y": np.ones((2, 5, 6, 3), "f"), "stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1),
    }  # fmt: skip


@pytest.mark.parametrize("name, value, error, message", [
    ("x", np.ones((2, 5, 6, 4), int), TypeError, "x: expected float32 or float64"),
    ("x", np.ones((2, 4, 5, 6), "f").transpose(0, 2, 3, 1), ValueError, "x: expected a C-contiguous array"),
    ("x", np.ones((2, 5, 24), "f"), ValueError, "x: expected 4 axes"),
    ("weight", np.ones((3, 3, 3, 4)), TypeError, "weight: expected dtype float32"),
    ("weight", np.ones((3, 3, 3, 5), "f"), ValueError, "weight: expected length 4 along axis 3"),
    ("weight", np.ones((3, 9, 3, 4), "f"), ValueError, "kernel_size: expected a window"),
    ("bias", np.ones(4, "f"), ValueError, "bias: expected length 3"),
    ("y", np.ones((2, 5, 5, 3), "f"), ValueError, "y: expected length 6 along axis 2"),
    ("y", None, TypeError, "y: expected an array"),
    ("stride", (0, 1), ValueError, "stride: expected two numbers >= 1"),
    ("stride", 2, ValueError, "stride: expected two whole numbers"),
    ("padding", (1, 1), ValueError, "padding: expected"),
    ("padding", (1, 1, 1, -1), ValueError, "padding: expected four numbers >= 0"),
    ("dilation", (1, 0), ValueError, "dilation: expected two numbers >= 1"),
    ("groups", 2, ValueError, "groups: expected a divisor"),
    ("activation", "softmax", ValueError, "activation: expected one of"),
    ("algorithm", "fft", ValueError, "algorithm: expected"),
])  # fmt: skip
def test_errors(name, value, error, message):
    with pytest.raises(error, match=message):
        compiled.conv2d_forward(**{**arguments(), name: value})


@pytest.mark.parametrize("name", LARGE)
def test_equals_pytorch(name):
    torch = pytest.importorskip("torch")
    case = LARGE[name]
    stride, padding, dilation, groups = case.geometry
    top, bottom, left, right = padding
    x, weight, bias = (torch.tensor(a, requires_grad=True) for a in (case.x, case.weight, case.bias))
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = torch.nn.functional.conv2d(padded, weight.permute(0, 3, 1, 2), bias, stride, 0, dilation, groups)
    y = y.permute(0, 2, 3, 1)
    y.backward(torch.tensor(case.da))
    expected = [a.numpy() for a in (y.detach(), x.grad, weight.grad, bias.grad)]
    assert_same(case.run(compiled), expected, "float64", case)
