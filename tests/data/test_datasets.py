"""The data sets as users get them: the sample, where files are looked for, and what is said without them."""

import gzip
import hashlib
import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.data import datasets, files
from fastnn.errors import FileFormatError

SYSTEM = Path("/usr/share/datasets/fashion-mnist")


def write_idx(folder, n_train=20, n_test=10, seed=0, suffix=".gz", dotted=False):
    """A small set in the form of MNIST; returns its arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    arrays = []
    for prefix, n in (("train", n_train), ("t10k", n_test)):
        x = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        y = rng.integers(0, 10, n, dtype=np.uint8)
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            name = f"{prefix}-{kind}-ubyte"
            name = name.replace("-idx", ".idx") if dotted else name
            content = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
            (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
        arrays.append((x[..., None], y))
    return arrays


def write_cifar(folder, n=3):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    sets = []
    for name in (*datasets.CIFAR_TRAIN, *datasets.CIFAR_TEST):
        x = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        y = rng.integers(0, 10, n, dtype=np.uint8)
        planes = x.transpose(0, 3, 1, 2).reshape(n, -1)
        np.concatenate([y[:, None], planes], axis=1).tofile(folder / name)
        sets.append((x, y))
    return sets


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No data set is here but what a test writes, and nothing can be downloaded."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setitem(sys.modules, "pooch", None)
    return tmp_path


def check(got, expected, dtype="float32"):
    for (x, y), (bytes_, labels) in zip(got, expected):
        assert x.dtype == dtype and y.dtype == np.int64 and y.shape == (len(x),)
        scaled = bytes_ if dtype == "uint8" else bytes_ / np.dtype(dtype).type(255)
        np.testing.assert_array_equal(x, scaled)
        np.testing.assert_array_equal(y, labels)


def test_sample():
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist_sample()
    assert x_train.shape == (6000, 28, 28, 1) and x_test.shape == (1000, 28, 28, 1)
    assert x_train.dtype == x_test.dtype == np.float32 and y_train.dtype == y_test.dtype == np.int64
    assert x_train.min() == 0 and x_train.max() == 1
    np.testing.assert_array_equal(np.bincount(y_train), [600] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [100] * 10)
    np.testing.assert_array_equal(np.bincount(y_train[:50]), [5] * 10)


def test_sample_is_the_one_that_was_made():
    (x_train, _), (x_test, _) = datasets.fashion_mnist_sample("uint8")
    digest = hashlib.sha256(x_train.tobytes() + x_test.tobytes()).hexdigest()
    assert digest == "91ffafd3abf65722e2f946ed1142501541896767c1f1bc76b94c327962753ec1"


def test_sample_can_be_told_apart():
    """Images fit their labels: nearest class mean alone is right about two times in three."""
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist(sample=True)
    means = np.stack([x_train[y_train == k].mean(axis=0) for k in range(10)]).reshape(10, -1)
    flat = x_test.reshape(len(x_test), -1)
    nearest = (flat @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
    assert (nearest == y_test).mean() > 0.6


def test_sample_types():
    in_bytes = datasets.fashion_mnist_sample("uint8")
    check(datasets.fashion_mnist_sample("float64"), in_bytes, "float64")
    check(datasets.fashion_mnist(sample=True), in_bytes)


def test_sample_is_small_and_licensed():
    assert datasets.SAMPLE_FILE.stat().st_size < 3_000_000
    assert "Zalando SE" in (datasets.SAMPLE_FILE.parent / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"no zlib", None])
def test_damaged_sample(tmp_path, monkeypatch, content):
    broken = tmp_path / "sample"
    broken.write_bytes(datasets.SAMPLE_FILE.read_bytes()[:-1000] if content is None else content)
    monkeypatch.setattr(datasets, "SAMPLE_FILE", broken)
    with pytest.raises(FileFormatError, match="the sample as it was installed"):
        datasets.fashion_mnist_sample()


@pytest.mark.skipif(not SYSTEM.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_full_set_and_its_sample():
    (x, y), (x_test, y_test) = datasets.fashion_mnist(SYSTEM, dtype="uint8")
    assert x.shape == (60000, 28, 28, 1) and x_test.shape == (10000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(y), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [1000] * 10)
    sample = datasets.fashion_mnist_sample("uint8")
    for (pixels, labels), (few, few_labels) in zip([(x, y), (x_test, y_test)], sample):
        for k in range(10):
            own = few[few_labels == k]
            np.testing.assert_array_equal(own, pixels[labels == k][: len(own)])


@pytest.mark.parametrize("load", [datasets.fashion_mnist, datasets.mnist])
@pytest.mark.parametrize(("suffix", "dotted"), [(".gz", False), ("", False), ("", True)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_idx_sets(tmp_path, load, suffix, dotted, dtype):
    arrays = write_idx(tmp_path / "mine", suffix=suffix, dotted=dotted)
    got = load(tmp_path / "mine", dtype=dtype)
    check(got, arrays, dtype)
    mapped = isinstance(got[0][0], np.memmap)
    assert mapped == (dtype == "uint8" and suffix == "")


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_cifar10(tmp_path, dtype):
    sets = write_cifar(tmp_path / "cifar-10-batches-bin")
    train = [np.concatenate(parts) for parts in zip(*sets[:5])]
    check(datasets.cifar10(tmp_path, dtype=dtype), [train, sets[5]], dtype)


def test_cifar10_from_the_archive(tmp_path):
    import tarfile

    sets = write_cifar(tmp_path / "source" / "cifar-10-batches-bin")
    with tarfile.open(tmp_path / datasets.CIFAR_ARCHIVE, "w:gz") as archive:
        archive.add(tmp_path / "source" / "cifar-10-batches-bin", "cifar-10-batches-bin")
    (x, _), (x_test, _) = datasets.cifar10(tmp_path, dtype="uint8")
    np.testing.assert_array_equal(x[:3], sets[0][0])
    np.testing.assert_array_equal(x_test, sets[5][0])
    assert not (tmp_path / "cifar-10-batches-bin").exists()


def test_order_of_search(tmp_path, monkeypatch):
    """Each place counts until an earlier one has the set too."""
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "mine"))
    places = [
        files.cache_folder() / "fashion-mnist",
        tmp_path / "system" / "fashion-mnist",
        tmp_path / "mine" / "FashionMNIST" / "raw",
    ]
    for seed, folder in enumerate(places):
        arrays = write_idx(folder, seed=seed)
        check(datasets.fashion_mnist(), arrays)
        assert datasets.available()["fashion_mnist"].where == str(folder)
    arrays = write_idx(tmp_path / "given", seed=9)
    check(datasets.fashion_mnist(tmp_path / "given"), arrays)


def test_names_of_files_do_not_mix_sets(tmp_path):
    write_idx(files.cache_folder() / "fashion-mnist")
    with pytest.raises(FileNotFoundError):
        datasets.mnist()


@pytest.mark.parametrize("load", [datasets.fashion_mnist, datasets.mnist])
def test_wrong_path_is_told(tmp_path, load):
    arrays = write_idx(tmp_path / "system" / load.__name__.replace("_", "-"))
    with pytest.warns(
        UserWarning, match="path: expected the files of .* They are not there; using"
    ) as caught:
        check(load(tmp_path / "typo"), arrays)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist", "cifar10"])
def test_nothing_found_names_places_and_ways(tmp_path, monkeypatch, name):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as caught:
        getattr(datasets, name)(tmp_path / "given")
    message = str(caught.value)
    folder = datasets.SOURCES[name].folders[0]
    for place in (tmp_path / "given", tmp_path / "mine" / folder, tmp_path / "system" / folder,
                  files.cache_folder() / folder):  # fmt: skip
        assert str(place) in message
    assert "pip install 'fastnn-edu[data]'" in message and "FASTNN_DATA" in message
    assert ("apt install dataset-fashion-mnist" in message) == (name == "fashion_mnist")
    assert ("fashion_mnist_sample()" in message) == (name == "fashion_mnist")


def test_download_switched_off():
    with pytest.raises(FileNotFoundError, match="switched off"):
        datasets.mnist(download=False)


def test_part_of_a_set_is_told(tmp_path):
    write_idx(tmp_path / "mine")
    (tmp_path / "mine" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"files are missing: t10k-labels-idx1-ubyte\.gz"):
        datasets.mnist(tmp_path / "mine")


@pytest.mark.parametrize("seed", range(4))
def test_truncated_file_anywhere(tmp_path, seed):
    write_idx(tmp_path, suffix="")
    path = sorted(p for p in tmp_path.iterdir() if p.is_file())[seed]
    content = path.read_bytes()[:-3]
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=path.name):
        datasets.mnist(tmp_path)
    assert path.read_bytes() == content


def test_files_that_do_not_belong_together(tmp_path):
    write_idx(tmp_path / "a", n_train=20)
    write_idx(tmp_path / "b", n_train=21)
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    good = (tmp_path / "a" / labels).read_bytes()
    (tmp_path / "a" / labels).write_bytes((tmp_path / "b" / labels).read_bytes())
    with pytest.raises(FileFormatError, match=f"{labels}: expected 20 labels"):
        datasets.mnist(tmp_path / "a")
    (tmp_path / "a" / images).write_bytes(good)
    with pytest.raises(FileFormatError, match=f"{images}: expected images"):
        datasets.mnist(tmp_path / "a")


def test_labels_out_of_range(tmp_path):
    write_idx(tmp_path, suffix="")
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(FileFormatError, match=r"labels from 0 to 9\. Received: label 11"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("load", [datasets.fashion_mnist, datasets.mnist, datasets.cifar10])
def test_refuses_other_types(load):
    with pytest.raises(
        ValueError, match=r"dtype: expected float32, float64 or uint8\. Received: dtype=int32"
    ):
        load(dtype="int32")


def test_download_goes_to_the_cache(tmp_path, monkeypatch):
    """`files.download` itself is tested against a web server in test_files."""
    arrays = write_idx(tmp_path / "web")
    asked = []

    def download(urls, md5, target):
        asked.append((tuple(urls), md5))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tmp_path / "web" / target.name).read_bytes())
        return target

    monkeypatch.setattr(files, "download", download)
    check(datasets.fashion_mnist(), arrays)
    assert len(asked) == 4
    check(datasets.fashion_mnist(), arrays)  # now from the cache
    assert len(asked) == 4
    for urls, md5 in asked:
        assert len(md5) == 32 and all(url.startswith("http") for url in urls)


def test_unusable_cache_is_told(tmp_path, monkeypatch):
    def download(urls, md5, target):
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(files, "download", download)
    with pytest.raises(FileNotFoundError, match=r"download: .*Permission denied"):
        datasets.cifar10()


def test_available(tmp_path):
    here = datasets.available()
    assert here["fashion_mnist_sample"] == ("embedded", None)
    for name in ("xor", "moons", "spirals", "noisy_sine", "shapes"):
        assert here[name].where == "generated" and callable(getattr(datasets, name))
    assert here["fashion_mnist"].where is None
    assert "apt install dataset-fashion-mnist" in here["fashion_mnist"].mend
    write_cifar(tmp_path / "c")
    assert datasets.available(tmp_path / "c")["cifar10"] == (str(tmp_path / "c"), None)


def test_class_names():
    assert datasets.class_names("fashion_mnist")[9] == "Ankle boot"
    assert all(len(datasets.class_names(name)) == 10 for name in datasets.SOURCES)
    with pytest.raises(ValueError, match=r"name: expected one of .* Received: name='imagenet'"):
        datasets.class_names("imagenet")


@pytest.mark.skipif(not SYSTEM.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_tool_makes_the_same_sample(tmp_path):
    script = Path(__file__).parents[2] / "tools" / "make_sample.py"
    if not script.exists():
        pytest.skip("the tools are not part of an installed package")
    spec = importlib.util.spec_from_file_location("make_sample", script)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    made = tmp_path / "made"
    tool.main(SYSTEM, made)
    import zlib

    assert zlib.decompress(made.read_bytes()) == zlib.decompress(datasets.SAMPLE_FILE.read_bytes())
