"""Builds the sample of Fashion-MNIST inside the package from the full set.

    python tools/make_sample.py [folder of the full set]

The sample is the first 600 training and the first 100 test images of each class, in the order of the
original files. See `fastnn/data/sample/README.md` for the format.
"""

import sys
import zlib

import numpy as np

from fastnn.data.datasets import SAMPLE_FILE, SAMPLE_PER_CLASS, fashion_mnist


def main(path=None, target=SAMPLE_FILE):
    parts = []
    for (x, y), k in zip(fashion_mnist(path, download=False, dtype="uint8"), SAMPLE_PER_CLASS):
        parts += [x[np.flatnonzero(y == label)[:k], :, :, 0] for label in range(10)]
    columns = np.concatenate(parts).transpose(0, 2, 1).copy()
    columns[:, :, 1:] -= columns[:, :, :-1].copy()
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    content = packer.compress(columns.tobytes()) + packer.flush()
    target.write_bytes(content)
    print(f"{target}: {len(content)} bytes, {len(columns)} images")


if __name__ == "__main__":
    main(*sys.argv[1:])
