"""Formats, places and downloads: what is read, and what damaged files say."""

import functools
import gzip
import hashlib
import http.server
import io
import struct
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from fastnn.data import files
from fastnn.errors import FileFormatError, MissingExtraError


def idx(array, kind=8):
    """The bytes of an IDX file, written independently of the reader."""
    head = bytes([0, 0, kind, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("array", [IMAGES, IMAGES[:, 0, 0], IMAGES[:1], IMAGES[:0]])
def test_idx(tmp_path, name, mmap, array):
    path = write(tmp_path / name, idx(array))
    got = files.read_idx(path, mmap=mmap)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, array)
    assert isinstance(got, np.memmap) == (mmap and name == "images" and array.size > 0)


@pytest.mark.parametrize(("kind", "dtype"), [(9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
def test_idx_types(tmp_path, kind, dtype):
    array = (np.arange(6).reshape(2, 3) - 3).astype(dtype)
    got = files.read_idx(write(tmp_path / "a", idx(array, kind)))
    assert got.dtype == array.dtype and got.dtype.isnative
    np.testing.assert_array_equal(got, array)


def test_memory_map_is_read_only(tmp_path):
    got = files.read_idx(write(tmp_path / "a", idx(IMAGES)), mmap=True)
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1


GOOD = idx(IMAGES)


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Received: an empty file"),
        (b"\0\0", "Received: 0x0000"),
        (b"PK\3\4" + GOOD, r"expected an IDX file \(magic .* Received: 0x504b0304"),
        (b"\0\0\x07" + GOOD[3:], "Received: 0x00000703"),
        (b"\0\0\x08\0" + GOOD[4:], "Received: 0x00000800"),
        (GOOD[:9], "expected a header of 16 bytes. Received: 9 bytes"),
        (GOOD[:-1], r"expected 76 bytes for shape \(5, 4, 3\). Received: 75 bytes"),
        (GOOD + b"\0", "Received: 77 bytes"),
        (b"\0\0\x0e\x08" + b"\xff" * 32, "Received: 36 bytes"),  # a size that overflows 64 bits
    ],
)
def test_damaged_idx(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    before = path.read_bytes()
    for mmap in (True, False):
        with pytest.raises(FileFormatError, match=message) as caught:
            files.read_idx(path, mmap=mmap)
        assert str(path) in str(caught.value) and "Nothing was changed" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", ["end", "head", "middle", "not gzip"])
def test_damaged_gzip(tmp_path, cut):
    packed = gzip.compress(GOOD)
    content = {
        "end": packed[:-9],
        "head": packed[:5],
        "middle": packed[:20] + bytes(b ^ 255 for b in packed[20:40]) + packed[40:],
        "not gzip": GOOD,
    }[cut]
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="expected an intact gzip file"):
        files.read_idx(path)
    assert path.read_bytes() == content


def cifar(n, seed=0):
    """(bytes of a batch, images, labels)"""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    content = b"".join(
        bytes([y]) + b"".join(x[..., c].tobytes() for c in range(3)) for x, y in zip(images, labels)
    )
    return content, images, labels


def tar_gz(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10(tmp_path, packed):
    (a, ax, ay), (b, bx, by) = cifar(3, 1), cifar(2, 2)
    members = {"b.bin": b, "a.bin": a, "readme.html": b"x"}
    if packed:
        place = tar_gz(tmp_path / "c.tar.gz", members)
    else:
        place = tmp_path
        for name, content in members.items():
            (place / name).write_bytes(content)
    images, labels = files.read_cifar10(place, ["a.bin", "b.bin"])
    np.testing.assert_array_equal(images, np.concatenate([ax, bx]))
    np.testing.assert_array_equal(labels, np.concatenate([ay, by]))
    assert images.flags.c_contiguous


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "whole records of 3073 bytes. Received: 0 bytes"),
        (cifar(2)[0][:-1], "Received: 6145 bytes"),
        (b"\x0a" + cifar(1)[0][1:], "expected labels from 0 to 9. Received: label 10"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_cifar10(tmp_path, content, message, packed):
    (tmp_path / "a.bin").write_bytes(content)
    place = tar_gz(tmp_path / "c.tar.gz", {"a.bin": content}) if packed else tmp_path
    with pytest.raises(FileFormatError, match=message):
        files.read_cifar10(place, ["a.bin"])


@pytest.mark.parametrize("cut", [100, 1000, 5000])
def test_damaged_archive(tmp_path, cut):
    path = tar_gz(tmp_path / "c.tar.gz", {"a.bin": cifar(3)[0]})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileFormatError, match="intact tar archive"):
        files.read_cifar10(path, ["a.bin"])


def test_archive_without_a_file(tmp_path):
    path = tar_gz(tmp_path / "c.tar.gz", {"a.bin": cifar(1)[0]})
    with pytest.raises(FileFormatError, match=r"an archive without \['b.bin'\]"):
        files.read_cifar10(path, ["a.bin", "b.bin"])


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "there/fastnn"),
        ("linux", None, "home/.cache/fastnn"),
        ("darwin", None, "home/Library/Caches/fastnn"),
        ("win32", "LOCALAPPDATA", "there/fastnn"),
        ("win32", None, "home/AppData/Local/fastnn"),
    ],
)
def test_cache_folder(monkeypatch, platform, variable, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "there")
    assert files.cache_folder() == Path(expected)


def test_order_of_places(monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "c")
    monkeypatch.setenv("LOCALAPPDATA", "c")
    monkeypatch.setattr(files, "SYSTEM_FOLDER", Path("sys"))
    places = files.search_places(("a", "b"), "here")
    assert [str(folder) for _, folder in places] == [
        str(Path(p)) for p in ("here", "here/a", "here/b", "mine/a", "mine/b", "sys/a", "sys/b",
                               "c/fastnn/a", "c/fastnn/b")
    ]  # fmt: skip
    assert [name for name, _ in places] == ["path"] * 3 + ["FASTNN_DATA"] * 2 + ["system"] * 2 + ["cache"] * 2


def test_find_takes_the_first_variant(tmp_path):
    for name in ("a", "a.gz", "b"):
        (tmp_path / name).write_bytes(b"")
    found, missing = files.find(tmp_path, [("a.gz", "a"), ("b.gz", "b"), ("c.gz", "c")])
    assert found == [tmp_path / "a.gz", tmp_path / "b"] and missing == ["c.gz"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(address, folder) of a web server on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/", folder
        web.shutdown()
        thread.join()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_download(server, tmp_path):
    pytest.importorskip("pooch")
    address, folder = server
    (folder / "a.gz").write_bytes(b"content")
    target = tmp_path / "cache" / "set" / "a.gz"
    # the first address has no such file: the next one is asked
    got = files.download([address + "nothing/a.gz", address + "a.gz"], md5(b"content"), target)
    assert got == target and target.read_bytes() == b"content"
    assert list(target.parent.iterdir()) == [target]


def test_download_with_another_checksum_keeps_nothing(server, tmp_path):
    pytest.importorskip("pooch")
    address, folder = server
    (folder / "a.gz").write_bytes(b"changed")
    target = tmp_path / "cache" / "a.gz"
    with pytest.raises(FileFormatError, match=f"MD5 checksum {md5(b'content')}.*{md5(b'changed')}"):
        files.download([address + "a.gz"], md5(b"content"), target)
    assert list(target.parent.iterdir()) == []


def test_download_from_nowhere_names_every_address(server, tmp_path):
    pytest.importorskip("pooch")
    address, _ = server
    with pytest.raises(OSError, match=r"one/a.gz.*404.*two/a.gz.*404"):
        files.download([address + "one/a.gz", address + "two/a.gz"], "0" * 32, tmp_path / "a.gz")


def test_download_does_not_touch_what_is_there(tmp_path):
    target = tmp_path / "a.gz"
    target.write_bytes(b"mine")
    assert files.download(["http://127.0.0.1:9/a.gz"], "0" * 32, target) == target
    assert target.read_bytes() == b"mine"


def test_download_without_pooch_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"fastnn-edu\[data\]"):
        files.download(["http://127.0.0.1:9/a.gz"], "0" * 32, tmp_path / "a.gz")
