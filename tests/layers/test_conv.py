"""Conv2D: shapes, values against loops in NumPy and against PyTorch, gradients, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn as nn
from fastnn.layers.conv import output_size, resolve_padding
from fastnn.testing import check_layer


def assert_close(received, expected, sums=None, rtol=1e-5):
    """A difference below rtol of the expected array's largest element, or of the largest of `sums`.

    The sums of the summands' magnitudes say what float32 can promise.
    """
    assert received.shape == expected.shape
    assert np.abs(received - expected).max() <= rtol * max(
        np.abs(expected if sums is None else sums).max(), 1e-30
    )


# Shapes


@pytest.mark.parametrize(
    ("options", "input_shape", "expected"),
    [
        ({"filters": 6, "kernel_size": 5}, (32, 32, 1), (28, 28, 6)),
        ({"filters": 6, "kernel_size": 5, "padding": "same"}, (28, 28, 1), (28, 28, 6)),
        ({"filters": 96, "kernel_size": 11, "stride": 4}, (227, 227, 3), (55, 55, 96)),
        ({"filters": 4, "kernel_size": (3, 1), "stride": (2, 1), "padding": (1, 0)}, (7, 5, 2), (4, 5, 4)),
        ({"filters": 4, "kernel_size": 3, "dilation": 2}, (7, 7, 1), (3, 3, 4)),
        ({"filters": 4, "kernel_size": 2, "stride": 2, "padding": "same"}, (5, 5, 1), (3, 3, 4)),
        ({"filters": 3, "kernel_size": 1}, (1, 1, 8), (1, 1, 3)),
    ],
)
def test_shapes(options, input_shape, expected):
    model = nn.Sequential([nn.Conv2D(**options)], input_shape=input_shape, seed=0)
    assert model.output_shape == expected
    assert model.forward(np.zeros((2, *input_shape), np.float32)).shape == (2, *expected)


def test_counts():
    conv = nn.Sequential([nn.Conv2D(16, 5)], input_shape=(14, 14, 6), seed=0)["conv1"]
    assert conv.weight.shape == (16, 5, 5, 6)
    assert conv.bias.shape == (16,)
    assert conv.weight.size == 2400
    assert conv.multiply_adds() == 10 * 10 * 2400
    groups = nn.Sequential([nn.Conv2D(16, 3, groups=4, use_bias=False)], input_shape=(8, 8, 8), seed=0)[
        "conv1"
    ]
    assert groups.weight.shape == (16, 3, 3, 2)
    assert groups.bias is None


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_same_keeps_the_size_divided_by_the_stride(size, kernel, stride, dilation):
    sides = resolve_padding(
        "same", (size, size), (kernel, kernel), (stride, stride), (dilation, dilation), ""
    )
    assert output_size(size, kernel, stride, sides[0] + sides[1], dilation) == -(-size // stride)
    assert sides[0] <= sides[1] <= sides[0] + 1
    assert sides[:2] == sides[2:]


def test_padding_forms():
    geometry = (9, 9), (3, 5), (1, 1), (1, 1), "conv"
    assert resolve_padding("valid", *geometry) == (0, 0, 0, 0)
    assert resolve_padding("same", *geometry) == (1, 1, 2, 2)
    assert resolve_padding(2, *geometry) == (2, 2, 2, 2)
    assert resolve_padding([1, np.int64(3)], *geometry) == (1, 1, 3, 3)


# Values


@st.composite
def problems(draw):
    """Options of a layer, sample shape, batch size and a seed; groups down to depthwise."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 9))
    if draw(st.integers(0, 3)) == 0:
        groups = channels  # depthwise
    options = {
        "filters": groups * draw(st.integers(1, 9)),
        "kernel_size": (draw(st.integers(1, 5)), draw(st.integers(1, 5))),
        "stride": draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (2, 1)])),
        "dilation": draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3)])),
        "groups": groups,
        "use_bias": draw(st.booleans()),
    }
    extent = [d * (k - 1) + 1 for k, d in zip(options["kernel_size"], options["dilation"])]
    padding = draw(st.sampled_from(["same", "valid", 0, 1, 2, (2, 1), (0, 3)]))
    options["padding"] = padding
    least = extent if padding in ("valid", 0) else [max(1, e - 1) for e in extent]
    if padding not in ("same", "valid"):
        least = [
            max(1, e - 2 * p)
            for e, p in zip(extent, padding if isinstance(padding, tuple) else (padding,) * 2)
        ]
    height, width = (n + draw(st.integers(0, 9)) for n in least)
    return options, (height, width, channels), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))


def run_layer(options, input_shape, n, seed):
    """The layer after a forward and a backward pass, and all arrays: x, dy, y, dx."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential([nn.Conv2D(**options)], input_shape=input_shape, seed=0)
    model.theta[:] = rng.normal(size=model.theta.size)
    x = rng.normal(size=(n, *input_shape)).astype(np.float32)
    dy = rng.normal(size=(n, *model.output_shape)).astype(np.float32)
    y = model.forward(x)
    return model["conv1"], x, dy, y, model.backward(dy)


def convolution(layer, x, dy, of=np.asarray):
    """`y, dx, dw, db` of a layer by the definition, one tap of the window after the other, in float64.

    `of=abs` gives the sums of the summands' magnitudes.
    """
    w, x, dy = (of(a.astype(np.float64)) for a in (layer.weight.data, x, dy))
    (sh, sw), (dh, dw_), groups = layer.stride, layer.dilation, layer.groups
    top, bottom, left, right = layer.sides
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    y = np.zeros(dy.shape)
    oh, ow = dy.shape[1:3]
    c, f = x.shape[3] // groups, w.shape[0] // groups
    for u in range(w.shape[1]):
        for v in range(w.shape[2]):
            rows = slice(u * dh, u * dh + (oh - 1) * sh + 1, sh)
            columns = slice(v * dw_, v * dw_ + (ow - 1) * sw + 1, sw)
            for g in range(groups):
                channels, filters = slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)
                tap = w[filters, u, v]
                seen = padded[:, rows, columns, channels]
                y[..., filters] += seen @ tap.T
                dpadded[:, rows, columns, channels] += dy[..., filters] @ tap
                dw[filters, u, v] = np.tensordot(dy[..., filters], seen, axes=([0, 1, 2], [0, 1, 2]))
    if layer.bias is not None:
        y += of(layer.bias.data)
    dx = dpadded[:, top : top + x.shape[1], left : left + x.shape[2]]
    return y, dx, dw, dy.sum(axis=(0, 1, 2))


@given(problems())
@settings(max_examples=60, deadline=None)
def test_values(problem):
    layer, x, dy, y, dx = run_layer(*problem)
    results = [y, dx, layer.weight.grad] + ([layer.bias.grad] if layer.bias is not None else [])
    for received, expected, sums in zip(results, convolution(layer, x, dy), convolution(layer, x, dy, abs)):
        assert_close(received, expected, sums, 2e-6)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_as_in_pytorch(problem):
    torch = pytest.importorskip("torch")
    layer, x, dy, y, dx = run_layer(*problem)
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tw = torch.tensor(layer.weight.data.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tb = None if layer.bias is None else torch.tensor(layer.bias.data, requires_grad=True)
    top, bottom, left, right = layer.sides
    padded = torch.nn.functional.pad(tx, (left, right, top, bottom))
    ty = torch.nn.functional.conv2d(padded, tw, tb, layer.stride, 0, layer.dilation, layer.groups)
    ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
    results = [(y, ty.detach()), (dx, tx.grad), (layer.weight.grad, tw.grad)]
    results = [(received, expected.numpy().transpose(0, 2, 3, 1)) for received, expected in results]
    results += [] if tb is None else [(layer.bias.grad, tb.grad.numpy())]
    for (received, expected), sums in zip(results, convolution(layer, x, dy, abs)):
        assert_close(received, expected, sums, 2e-6)


def test_same_padding_as_in_pytorch():
    torch = pytest.importorskip("torch")
    layer, x, _, y, _ = run_layer({"filters": 5, "kernel_size": (4, 3), "padding": "same"}, (9, 8, 3), 2, 0)
    tx, tw = (torch.tensor(a.transpose(0, 3, 1, 2).copy()) for a in (x, layer.weight.data))
    with pytest.warns(UserWarning, match="even kernel"):  # one side is padded more, as here
        ty = torch.nn.functional.conv2d(tx, tw, torch.tensor(layer.bias.data), padding="same")
    assert_close(y, ty.numpy().transpose(0, 2, 3, 1))


def test_one_by_one_is_a_dense_layer_at_each_pixel():
    model = nn.Sequential([nn.Conv2D(7, 1, activation="relu")], input_shape=(4, 5, 3), seed=0)
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    conv = model["conv1"]
    assert_close(model.forward(x), np.maximum(x @ conv.weight.data.reshape(7, 3).T + conv.bias.data, 0))


def test_an_edge_detector():
    """`[-1, 1]` along the width answers only where the brightness changes."""
    model = nn.Sequential([nn.Conv2D(1, (1, 2), use_bias=False)], input_shape=(2, 6, 1), seed=0)
    model.theta[:] = [-1, 1]
    x = np.zeros((1, 2, 6, 1), np.float32)
    x[:, :, 3:] = 1
    assert (model.forward(x)[0, :, :, 0] == [0, 0, 1, 0, 0]).all()


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_algorithms_agree(algorithm):
    results = []
    for name in ("auto", algorithm):
        layer, _, _, y, dx = run_layer(
            {"filters": 8, "kernel_size": 3, "padding": "same", "algorithm": name}, (9, 10, 5), 2, 0
        )
        results.append((y.copy(), dx.copy(), layer.weight.grad.copy()))
    for received, expected in zip(results[1], results[0]):
        assert_close(received, expected, rtol=1e-4 if algorithm == "winograd" else 1e-5)


# Gradients and everything else that a layer promises


@pytest.mark.parametrize(
    ("layer", "input_shape"),
    [
        (nn.Conv2D(3, 3), (5, 6, 2)),
        (nn.Conv2D(4, 3, padding="same", activation="relu"), (5, 4, 3)),
        (nn.Conv2D(2, (2, 3), stride=2, padding=(1, 2), use_bias=False), (5, 7, 1)),
        (nn.Conv2D(4, 2, dilation=2, groups=2, activation="gelu"), (5, 5, 4)),
        (nn.Conv2D(4, 3, padding=1, groups=4), (5, 5, 4)),
        (nn.Conv2D(6, 3, padding=1, groups=3, stride=(2, 1), activation="tanh"), (4, 5, 3)),
        (nn.Conv2D(5, 1, activation=nn.LeakyReLU(0.2)), (3, 3, 4)),
        (nn.Conv2D(4, 3, padding="same", algorithm="im2col"), (4, 5, 3)),
        (nn.Conv2D(3, 2, stride=3), (6, 5, 1)),  # some pixels are in no window
    ],
    ids=repr,
)
def test_layer(layer, input_shape):
    check_layer(layer, input_shape, verbose=False)


def test_float64():
    check_layer(nn.Conv2D(3, 3, padding="same", activation="elu"), (4, 5, 2), dtype="float64", verbose=False)


# Errors


@pytest.mark.parametrize(
    ("layer", "input_shape", "message"),
    [
        (nn.Conv2D(4, 3), (28, 28), r"conv1 \(Conv2D\): expected images \(H, W, C\).*x\[\.\.\., None\]"),
        (nn.Conv2D(4, 5), (4, 9, 1), r"as large as the window \(5, 5\).*\(4, 9, 1\).*padding='same'"),
        (nn.Conv2D(4, 3, dilation=3), (6, 6, 1), "as large as the window"),
        (nn.Conv2D(4, 3, groups=2), (6, 6, 3), "multiples of groups=2. Received: 3 channels, 4 filters"),
        (nn.Conv2D(3, 3, groups=2), (6, 6, 4), "multiples of groups=2. Received: 4 channels, 3 filters"),
    ],
)
def test_shapes_that_do_not_fit(layer, input_shape, message):
    with pytest.raises(nn.ShapeError, match=message):
        nn.Sequential([layer], input_shape=input_shape)


@pytest.mark.parametrize("padding", ["sane", -1, (1, 2, 3), 0.5, None])
def test_padding_is_checked(padding):
    with pytest.raises(
        ValueError, match=r"padding: expected 'valid', 'same', a non-negative integer.*Received: "
    ):
        nn.Sequential([nn.Conv2D(2, 3, padding=padding)], input_shape=(8, 8, 1))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"filters": 0}, "filters"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"dilation": -1}, "dilation"),
        ({"groups": 0}, "groups"),
        ({"algorithm": "fft"}, "algorithm"),
    ],
)
def test_arguments_are_checked(options, name):
    with pytest.raises(ValueError, match=rf"Conv2D: {name}: expected .*Received: "):
        nn.Conv2D(**{"filters": 4, "kernel_size": 3} | options)
