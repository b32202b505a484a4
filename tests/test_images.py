"""Pictures and arrays from files become a batch of one in [0, 1], or an error that names the file."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.images import read_image

GREY = np.zeros((28, 28), np.uint8)
GREY[8:20, 8:20] = 200


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


def test_array_of_bytes(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    x = read_image(tmp_path / "a.npy", (28, 28, 1))
    assert x.shape == (1, 28, 28, 1)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_allclose(x[0, :, :, 0], GREY / 255, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_array_of_floats(tmp_path, dtype):
    image = np.linspace(0, 0.4, 28 * 28 * 3).reshape(28, 28, 3).astype(dtype)
    np.save(tmp_path / "a.npy", image)
    assert (read_image(str(tmp_path / "a.npy"), (28, 28, 3))[0] == image.astype(np.float32)).all()


def test_grey_pictures(tmp_path, pillow):
    pillow.fromarray(GREY).save(tmp_path / "a.png")
    x = read_image(tmp_path / "a.png", (28, 28, 1))
    np.testing.assert_allclose(x[0, :, :, 0], GREY / 255, atol=1e-7)
    pillow.fromarray(GREY).resize((56, 84)).convert("RGB").save(tmp_path / "b.png")
    x = read_image(tmp_path / "b.png", (28, 28, 1))
    assert x.shape == (1, 28, 28, 1)
    assert x[0, 14, 14, 0] == pytest.approx(200 / 255, abs=0.01)
    assert x[0, 2, 2, 0] == pytest.approx(0, abs=0.01)


def test_the_axes_of_a_picture_that_is_not_square(tmp_path, pillow):
    image = np.zeros((10, 20), np.uint8)
    image[:, 15:] = 250  # light on the right
    pillow.fromarray(image).save(tmp_path / "a.png")
    x = read_image(tmp_path / "a.png", (5, 8, 1), invert="no")
    assert x.shape == (1, 5, 8, 1)
    assert x[0, :, -1, 0].min() > 0.9
    assert x[0, :, :5, 0].max() < 0.2


def test_coloured_pictures(tmp_path, pillow):
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = (255, 0, 51)
    pillow.fromarray(image).save(tmp_path / "a.png")
    x = read_image(tmp_path / "a.png", (8, 8, 3))
    np.testing.assert_allclose(x[0, 3, 3], [1, 0, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("image", "invert", "inverted"),
    [
        (GREY, "auto", False),
        (255 - GREY, "auto", True),
        (GREY, "yes", True),
        (255 - GREY, "no", False),
    ],
)
def test_inversion(tmp_path, image, invert, inverted):
    np.save(tmp_path / "a.npy", image)
    x = read_image(tmp_path / "a.npy", (28, 28, 1), invert)[0, :, :, 0]
    np.testing.assert_allclose(x, (255 - image if inverted else image) / 255, atol=1e-6)


def test_colours_are_never_inverted_by_themselves(tmp_path):
    np.save(tmp_path / "a.npy", np.full((4, 4, 3), 255, np.uint8))
    assert (read_image(tmp_path / "a.npy", (4, 4, 3)) == 1).all()


@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 2)])
def test_models_that_take_no_pictures(tmp_path, shape):
    with pytest.raises(nn.ShapeError, match=r"model: expected one that takes images"):
        read_image(tmp_path / "a.npy", shape)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (
            np.zeros((27, 28), np.uint8),
            nn.ShapeError,
            r"expected shape \(28, 28, 1\)\. Received: shape=\(27, 28\)",
        ),
        (np.zeros((28, 28, 3), np.uint8), nn.ShapeError, r"expected shape \(28, 28, 1\)"),
        (
            np.full((28, 28), 1.5),
            ValueError,
            r"expected uint8, or floats in \[0, 1\].*float64, from 1.5 to 1.5",
        ),
        (np.full((28, 28), np.nan), ValueError, "expected uint8, or floats"),
        (np.zeros((28, 28), np.int64), ValueError, "expected uint8, or floats"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, array, error, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=message) as caught:
        read_image(tmp_path / "a.npy", (28, 28, 1))
    assert "a.npy" in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a picture or a \.npy file.*nowhere\.png"):
        read_image(tmp_path / "nowhere.png", (28, 28, 1))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00"])
def test_broken_arrays(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(nn.FileFormatError, match=r"a\.npy: expected a \.npy array"):
        read_image(tmp_path / "a.npy", (28, 28, 1))


def test_arrays_that_would_run_code_or_are_many(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(nn.FileFormatError, match=r"expected a \.npy array"):
        read_image(tmp_path / "a.npy", (28, 28, 1))
    np.savez(tmp_path / "b.npz", a=GREY)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(nn.FileFormatError, match="an archive of arrays"):
        read_image(tmp_path / "b.npy", (28, 28, 1))


def test_broken_pictures(tmp_path, pillow):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(nn.FileFormatError, match=r"a\.png: expected a picture"):
        read_image(tmp_path / "a.png", (28, 28, 1))
    pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    for broken in (
        content[:2000],
        content[:300] + bytes(50) + content[350:],
        content[:60] + b"xxxx" + content[64:],
    ):
        (tmp_path / "c.png").write_bytes(broken)
        with pytest.raises(nn.FileFormatError, match=r"c\.png: expected a picture"):
            read_image(tmp_path / "c.png", (28, 28, 1))


def test_a_folder_is_no_picture(tmp_path, pillow):
    with pytest.raises(nn.FileFormatError, match="expected a picture"):
        read_image(tmp_path, (28, 28, 1))
