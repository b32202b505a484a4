"""The data sets, exposed as `fastnn.datasets`: images from files, and what `generated` computes.

Files are looked for in `path`, in the folder `FASTNN_DATA`, in the system's folder, in the cache, and then
downloaded. A sample of Fashion-MNIST is part of the package and needs none of that.
"""

import os
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import MissingExtraError
from . import files
from .generated import SHAPES, moons, noisy_sine, shapes, sparse_feature_regression, spirals, xor

__all__ = [
    "CLASS_NAMES",
    "available",
    "cifar10",
    "class_names",
    "fashion_mnist",
    "fashion_mnist_sample",
    "mnist",
    "moons",
    "noisy_sine",
    "shapes",
    "sparse_feature_regression",
    "spirals",
    "xor",
]

CLASS_NAMES = {
    "fashion_mnist": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                      "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "mnist": tuple("0123456789"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "shapes": SHAPES,
}  # fmt: skip

SAMPLE_FILE = Path(__file__).parent / "sample" / "fashion_mnist.zlib"
SAMPLE_PER_CLASS = (600, 100)  # training, test

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
             "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # fmt: skip
CIFAR_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR_TEST = ("test_batch.bin",)
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"


class Source(NamedTuple):
    """Where a data set comes from."""

    folders: tuple  # names its folder may have; the first is used in the cache
    downloads: dict  # file name: MD5 checksum
    mirrors: tuple  # addresses of the folder of these files
    package: str | None = None  # what installs it on Debian and Ubuntu


# The checksums are those that the sets' own pages give.
SOURCES = {
    "fashion_mnist": Source(
        ("fashion-mnist", "FashionMNIST/raw"),
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        "dataset-fashion-mnist",
    ),
    "mnist": Source(
        ("mnist", "MNIST/raw"),
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "cifar10": Source(
        ("cifar-10-batches-bin", "cifar-10"),
        {CIFAR_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"},
        ("https://www.cs.toronto.edu/~kriz/",),
    ),
}


class Availability(NamedTuple):
    """Where a data set is (a folder, "embedded", "generated" or None) and what would bring it here."""

    where: str | None
    mend: str | None


def fashion_mnist(path=None, *, sample=False, download=True, dtype="float32"):
    """Fashion-MNIST: 60,000 training and 10,000 test pictures of clothes in ten classes, 28 by 28, grey.

    Parameters
    ----------
    path : str or Path, optional
        Folder of the files (or one above it), looked at first. Then come `FASTNN_DATA/fashion-mnist`, the
        system's folder (Debian's package `dataset-fashion-mnist` fills it) and the cache.
    sample : bool
        The sample inside the package instead (see `fashion_mnist_sample`).
    download : bool
        Fetch what is found nowhere into the cache; needs the extra `data`.
    dtype : {"float32", "float64", "uint8"}
        Pixels as numbers in [0, 1], or as the bytes of the file. With "uint8", uncompressed files are
        mapped into memory instead of read, and `Batches` scales them batch by batch.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x (N, 28, 28, 1), y (N,) int64.

    Raises
    ------
    FileNotFoundError
        The set is nowhere; the message names the places and the ways to get it.
    FileFormatError
        A file is damaged.

    Notes
    -----
    Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms, arXiv:1708.07747. MIT licence, Zalando SE.
    """
    if sample:
        return fashion_mnist_sample(dtype)
    dtype = _pixel_type(dtype)
    return _idx_set(_locate("fashion_mnist", path, download), dtype)


def mnist(path=None, *, download=True, dtype="float32"):
    """MNIST: 60,000 training and 10,000 test handwritten digits, 28 by 28, grey.

    Parameters, result and errors are those of `fashion_mnist`; the folder is called `mnist`.

    Notes
    -----
    LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition.
    """
    dtype = _pixel_type(dtype)
    return _idx_set(_locate("mnist", path, download), dtype)


def cifar10(path=None, *, download=True, dtype="float32"):
    """CIFAR-10: 50,000 training and 10,000 test photographs in ten classes, 32 by 32, coloured.

    Parameters and errors are those of `fashion_mnist`. The files are those of the binary version, unpacked
    in a folder `cifar-10-batches-bin` or as the original archive `cifar-10-binary.tar.gz`.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x (N, 32, 32, 3), y (N,) int64.

    Notes
    -----
    Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    dtype = _pixel_type(dtype)
    found = _locate("cifar10", path, download)
    place = found[0] if found[0].name == CIFAR_ARCHIVE else found[0].parent
    images, labels = files.read_cifar10(place, (*CIFAR_TRAIN, *CIFAR_TEST))
    n_test = len(images) // 6  # six files of equal size
    images, labels = _pixels(images, dtype), labels.astype(np.int64)
    return (images[:-n_test], labels[:-n_test]), (images[-n_test:], labels[-n_test:])


def fashion_mnist_sample(dtype="float32"):
    """A sample of Fashion-MNIST inside the package: 6,000 training and 1,000 test images.

    The first 600 and the first 100 of each class in the order of the original files. Classes alternate
    (0, 1, ..., 9, 0, ...), so the first `10 k` images are balanced too. MIT licence, Zalando SE; see
    `fastnn/data/sample/LICENSE`.

    Parameters
    ----------
    dtype : {"float32", "float64", "uint8"}

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x (N, 28, 28, 1), y (N,) int64.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = fashion_mnist_sample()
    >>> x_train.shape, x_test.shape
    ((6000, 28, 28, 1), (1000, 28, 28, 1))
    """
    dtype = _pixel_type(dtype)
    try:
        content = zlib.decompress(SAMPLE_FILE.read_bytes())
    except zlib.error as error:
        raise files.damaged(SAMPLE_FILE, "the sample as it was installed", error) from error
    n_bytes = 10 * sum(SAMPLE_PER_CLASS) * 28 * 28
    if len(content) != n_bytes:
        raise files.damaged(SAMPLE_FILE, f"{n_bytes} bytes of pixels", f"{len(content)} bytes")
    columns = np.frombuffer(content, np.uint8).reshape(-1, 28, 28)
    images = np.cumsum(columns, axis=2, dtype=np.uint8).transpose(0, 2, 1)
    n_train = 10 * SAMPLE_PER_CLASS[0]
    sets = []
    for part in (images[:n_train], images[n_train:]):
        by_class = part.reshape(10, -1, 28, 28, 1)
        x = _pixels(by_class.swapaxes(0, 1), dtype).reshape(-1, 28, 28, 1)
        sets.append((x, np.arange(len(x), dtype=np.int64) % 10))
    return tuple(sets)


def class_names(name):
    """What the labels of a data set mean: `class_names("fashion_mnist")[9]` is "Ankle boot"."""
    if name not in CLASS_NAMES:
        raise ValueError(f"name: expected one of {sorted(CLASS_NAMES)}. Received: name={name!r}")
    return CLASS_NAMES[name]


def available(path=None):
    """What is here without a download.

    Parameters
    ----------
    path : str or Path, optional
        A place to look at first, as for `fashion_mnist`.

    Returns
    -------
    dict of str to Availability
        For each data set `where` it is (a folder, "embedded", "generated", or None) and, if it is nowhere,
        what would `mend` that.
    """
    result = {}
    for name in SOURCES:
        _, found, _ = _search(name, path)
        mend = None if found else " or ".join(_remedies(name))
        result[name] = Availability(str(found[0].parent) if found else None, mend)
    result["fashion_mnist_sample"] = Availability("embedded", None)
    for name in ("xor", "moons", "spirals", "noisy_sine", "sparse_feature_regression", "shapes"):
        result[name] = Availability("generated", None)
    return result


def _idx_set(found, dtype):
    """Both parts of a set from its four IDX files."""
    sets = []
    for image_file, label_file in (found[:2], found[2:]):
        x = files.read_idx(image_file, mmap=dtype == np.uint8)
        y = files.read_idx(label_file)
        if x.ndim != 3 or x.dtype != np.uint8 or len(x) == 0:
            raise files.damaged(image_file, "images (N, H, W) of bytes", f"shape {x.shape}, {x.dtype}")
        if y.shape != x.shape[:1] or y.dtype != np.uint8:
            raise files.damaged(label_file, f"{len(x)} labels, as {image_file.name} has images",
                                f"shape {y.shape}, {y.dtype}")  # fmt: skip
        if y.max() > 9:
            raise files.damaged(label_file, "labels from 0 to 9", f"label {y.max()}")
        sets.append((_pixels(x[..., None], dtype), y.astype(np.int64)))
    return tuple(sets)


def _pixel_type(dtype):
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64, np.uint8):
        raise ValueError(f"dtype: expected float32, float64 or uint8. Received: dtype={dtype}")
    return dtype


def _pixels(images, dtype):
    """Bytes as they are, or as numbers in [0, 1]."""
    if dtype == np.uint8:
        return np.ascontiguousarray(images) if not images.flags.c_contiguous else images
    out = np.empty(images.shape, dtype)
    return np.divide(images, 255, out=out, dtype=dtype)


def _variants(name):
    """For each file of a set the names that it may have."""
    if name == "cifar10":
        return [[file] for file in CIFAR_TRAIN + CIFAR_TEST]
    return [[f"{f}.gz", f, f.replace("-idx", ".idx")] for f in IDX_FILES]


def _search(name, path):
    """(place, files, what was seen in the other places)."""
    seen: list[str] = []
    for place, folder in files.search_places(SOURCES[name].folders, path):
        found, missing = files.find(folder, _variants(name))
        archive = folder / CIFAR_ARCHIVE
        if missing and name == "cifar10" and archive.is_file():
            found, missing = [archive], []
        if not missing:
            return place, found, seen
        state = "files are missing: " + ", ".join(missing) if found else "not there"
        seen.append(f"{place}: {folder} ({state})")
    return None, [], seen


def _locate(name, path, download):
    """The files of a data set, downloaded if need be."""
    place, found, seen = _search(name, path)
    if found:
        if path is not None and place != "path":
            warnings.warn(f"path: expected the files of {name} in {path}. They are not there; "
                          f"using {found[0].parent}.", stacklevel=3)  # fmt: skip
        return found
    reason = "download: switched off (download=False)"
    if download:
        try:
            return _download(name)
        except (OSError, MissingExtraError) as error:
            reason = f"download: {error}"
    places = "\n  ".join([*seen, reason])
    ways = "\n  ".join(_remedies(name))
    raise FileNotFoundError(f"{name}: expected its files in one of these:\n  {places}\nWays out:\n  {ways}")


def _download(name):
    source = SOURCES[name]
    folder = files.cache_folder() / source.folders[0]
    return [
        files.download([mirror + file for mirror in source.mirrors], md5, folder / file)
        for file, md5 in source.downloads.items()
    ]


def _remedies(name):
    """What a user can do to have a set here."""
    source = SOURCES[name]
    ways = [f"sudo apt install {source.package}"] if source.package else []
    ways.append("pip install 'fastnn-edu[data]', then load it once with a connection to the internet")
    root = os.environ.get("FASTNN_DATA")
    ways.append(
        f"give the folder of {', '.join(source.downloads)} as path, or put it as {source.folders[0]} "
        f"into the folder named by FASTNN_DATA ({f'now {root}' if root else 'not set'})"
    )
    if name == "fashion_mnist":
        ways.append("fashion_mnist_sample() has 7,000 of its images and needs no file")
    return ways
