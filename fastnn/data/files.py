"""The files of the image data sets: their formats (IDX, CIFAR-10 binary), where they are, how they come.

Nothing here overwrites or deletes a file. What is damaged raises `FileFormatError`.
"""

import gzip
import os
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, require

SYSTEM_FOLDER = Path("/usr/share/datasets")  # filled by distributions' packages
MEND = "Nothing was changed. Move the file away and load again to download it anew, or copy a good one there."

# The third byte of an IDX file names the type, the fourth the number of dimensions; all is big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

CIFAR_SHAPE = (3, 32, 32)  # one record: a label, then the red, the green and the blue plane
CIFAR_RECORD = np.dtype([("label", "u1"), ("image", "u1", CIFAR_SHAPE)])


def damaged(path, expected, received):
    """The error for a file that is not what it should be."""
    return FileFormatError(f"{path}: expected {expected}. Received: {received}. {MEND}")


def read_idx(path, mmap=False):
    """Read an IDX file, the format of MNIST, plain or compressed (`.gz`).

    Parameters
    ----------
    path : str or Path
        The file.
    mmap : bool
        Map a plain file into memory, read-only, instead of reading it: for sets larger than memory.

    Returns
    -------
    array : ndarray
        In the shape and type that the file declares.

    Raises
    ------
    FileFormatError
        Another magic number, another size than declared, or damaged compression.

    Notes
    -----
    Magic number `0x0000TTDD` (type, number of dimensions), then each dimension as a big-endian 32-bit
    integer, then the values in C order.
    """
    path = Path(path)
    compressed = path.suffix == ".gz"
    if compressed:
        content = _gunzip(path)
        head, n_bytes = content[:1024], len(content)
    else:
        with open(path, "rb") as file:
            head = file.read(1024)
        n_bytes = path.stat().st_size

    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_TYPES or not 1 <= head[3] <= 8:
        raise damaged(path, "an IDX file (magic 0x00000801 for labels, 0x00000803 for images)",
                      f"0x{head[:4].hex()}" if head else "an empty file")  # fmt: skip
    dtype, n_dims = np.dtype(IDX_TYPES[head[2]]), head[3]
    start = 4 + 4 * n_dims
    if len(head) < start:
        raise damaged(path, f"a header of {start} bytes", f"{len(head)} bytes")
    shape = struct.unpack(f">{n_dims}I", head[4:start])
    size = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if n_bytes != size:
        raise damaged(path, f"{size} bytes for shape {shape}", f"{n_bytes} bytes")

    if not compressed and mmap and 0 not in shape:
        return np.memmap(path, dtype, "r", start, shape)
    if not compressed:
        content = path.read_bytes()
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _gunzip(path):
    """All bytes of a gzip file; its own checksum is verified."""
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, "an intact gzip file", error) from error


def read_cifar10(path, names):
    """Read batches of CIFAR-10's binary version from a folder or from the original `.tar.gz`.

    Parameters
    ----------
    path : str or Path
        The folder with the files, or the archive (it is not unpacked to disk).
    names : sequence of str
        The files to read, for example `("test_batch.bin",)`.

    Returns
    -------
    images : ndarray, (N, 32, 32, 3) uint8
        Channels last: the planes of the file are interleaved.
    labels : ndarray, (N,) uint8

    Raises
    ------
    FileFormatError
        A file is missing in the archive, is not a whole number of records of 3073 bytes, or has a label
        above 9.
    """
    path = Path(path)
    contents = _tar_members(path, names) if path.is_file() else {n: (path / n).read_bytes() for n in names}
    parts = []
    for name in names:
        content, where = contents[name], path / name
        if len(content) == 0 or len(content) % CIFAR_RECORD.itemsize:
            raise damaged(where, f"whole records of {CIFAR_RECORD.itemsize} bytes", f"{len(content)} bytes")
        records = np.frombuffer(content, CIFAR_RECORD)
        if records["label"].max() > 9:
            raise damaged(where, "labels from 0 to 9", f"label {records['label'].max()}")
        parts.append(records)
    n = sum(len(part) for part in parts)
    images = np.empty((n, *CIFAR_SHAPE[1:], CIFAR_SHAPE[0]), np.uint8)
    start = 0
    for part in parts:
        images[start : start + len(part)] = part["image"].transpose(0, 2, 3, 1)
        start += len(part)
    return images, np.concatenate([part["label"] for part in parts])


def _tar_members(path, names):
    """The contents of these files of an archive, whatever folder they are in."""
    contents = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                file = archive.extractfile(member) if name in names else None
                if file is not None:
                    contents[name] = file.read()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, "an intact tar archive", error) from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise damaged(path, f"the files {list(names)}", f"an archive without {missing}")
    return contents


def cache_folder():
    """Where downloads are kept: `fastnn` in the platform's folder for caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastnn"


def search_places(folders, path=None):
    """Folders where a data set may be, the first first.

    Parameters
    ----------
    folders : sequence of str
        Names its folder may have.
    path : str or Path, optional
        The caller's own place: the folder itself or one above it.

    Returns
    -------
    list of (str, Path)
        What the place is called in messages, and the folder.
    """
    places = []
    if path is not None:
        places += [("path", Path(path))] + [("path", Path(path) / f) for f in folders]
    if os.environ.get("FASTNN_DATA"):
        places += [("FASTNN_DATA", Path(os.environ["FASTNN_DATA"]) / f) for f in folders]
    places += [("system", SYSTEM_FOLDER / f) for f in folders]
    places += [("cache", cache_folder() / f) for f in folders]
    return places


def find(folder, names):
    """The files in a folder, each under the first of its possible names that is there.

    Parameters
    ----------
    folder : Path
    names : sequence of sequences of str
        For each file the names it may have.

    Returns
    -------
    files : list of Path
        Those that are there, in the order of `names`.
    missing : list of str
        The first name of those that are not.
    """
    files, missing = [], []
    for variants in names:
        there = [folder / name for name in variants if (folder / name).is_file()]
        if there:
            files.append(there[0])
        else:
            missing.append(variants[0])
    return files, missing


def download(urls, md5, target):
    """Fetch a file that is not there yet, from the first of its addresses that answers.

    The bytes go to a temporary file beside `target` that gets its name after the checksum was verified.

    Parameters
    ----------
    urls : sequence of str
        Addresses (`http`, `https`) of the same file.
    md5 : str
        Its MD5 checksum.
    target : Path
        Where it goes. A file that is there already is returned untouched.

    Raises
    ------
    MissingExtraError
        pooch is not installed.
    FileFormatError
        What arrived has another checksum.
    OSError
        No address answered, or the folder cannot be written.
    """
    target = Path(target)
    if target.exists():
        return target
    pooch = require("pooch", "data")
    failures = []
    for url in urls:
        try:
            return Path(pooch.retrieve(url, f"md5:{md5}", target.name, target.parent))
        except OSError as error:  # noqa: PERF203 (the network's exceptions are OSErrors too)
            failures.append(f"{url}: {error}")
        except ValueError as error:
            raise FileFormatError(
                f"{url}: expected a file with the MD5 checksum {md5}. Received: {error} "
                "Nothing was kept. Try again later, or fetch the file by hand and give its folder as path."
            ) from error
    raise OSError("; ".join(failures))
