"""Pictures from files, as a network takes them."""

from pathlib import Path

import numpy as np

from .errors import FileFormatError, ShapeError, require


def read_image(path, shape, invert="auto"):
    """One picture as a batch `(1, *shape)` of float32 in [0, 1], resized and made grey if need be.

    Parameters
    ----------
    path : str or Path
        A picture that Pillow reads, or a `.npy` array of uint8 or of floats in [0, 1].
    shape : tuple of int
        `(H, W, C)` with C = 1 or 3.
    invert : {"auto", "yes", "no"}
        The grey data sets show light things on dark ground; "auto" inverts a picture whose border is
        lighter than half.

    Returns
    -------
    ndarray (1, H, W, C)
    """
    path = Path(path)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ShapeError(
            f"model: expected one that takes images (H, W, 1) or (H, W, 3). Received: input_shape={shape}"
        )
    if not path.exists():
        raise FileNotFoundError(
            f"image: expected a picture or a .npy file. Received: {path}, which does not exist"
        )
    image = _from_array(path, shape) if path.suffix == ".npy" else _from_picture(path, shape)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if invert == "yes" or (invert == "auto" and shape[2] == 1 and border.mean() > 0.5):
        image = 1 - image
    return np.ascontiguousarray(image[None], dtype=np.float32)


def _from_array(path, shape):
    try:
        image = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FileFormatError(f"{path}: expected a .npy array. Received: {error}") from None
    if not isinstance(image, np.ndarray):
        raise FileFormatError(f"{path}: expected one .npy array. Received: an archive of arrays (.npz)")
    if image.shape == shape[:2]:
        image = image[..., None]
    if image.shape != shape:
        raise ShapeError(f"{path}: expected shape {shape}. Received: shape={image.shape}")
    if image.dtype == np.uint8:
        return image.astype(np.float32) / 255
    if not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"{path}: expected uint8, or floats in [0, 1]. Received: dtype={image.dtype}, "
                         f"from {image.min()} to {image.max()}")  # fmt: skip
    return image.astype(np.float32)


def _from_picture(path, shape):
    pillow = require("PIL.Image", "plot")
    try:
        with pillow.open(path) as picture:
            if picture.has_transparency_data:  # what shines through is white paper
                ground = pillow.new("RGBA", picture.size, "white")
                picture = pillow.alpha_composite(ground, picture.convert("RGBA"))
            picture = picture.convert("L" if shape[2] == 1 else "RGB").resize(shape[1::-1])
            return np.asarray(picture, dtype=np.float32).reshape(shape) / 255
    except (OSError, SyntaxError) as error:  # Pillow's answers to other formats and to broken files
        raise FileFormatError(
            f"{path}: expected a picture. Received: a file that Pillow cannot read ({error})"
        ) from None
