"""What augmentation makes of an image (the notes, S6.2): whether the label is still true, the eye tells."""

import numpy as np

from ..data.augmentation import Augmentation
from .figure import TRAIN, new_figure


def augmented(image, augmentation, count=25, seed=0):
    """One image changed many times; the first column has the image itself.

    Parameters
    ----------
    image : ndarray (H, W, C)
        Numbers in [0, 1], C = 1 or 3, such as `x_train[0]`.
    augmentation : Augmentation
        See `fastnn.augmentation`.
    count : int
        Changed images.
    seed : int
        Others give other pictures.

    Returns
    -------
    matplotlib.figure.Figure
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(
            f"image: expected one image (H, W, 1) or (H, W, 3). Received: shape={image.shape}; "
            "of several show x[0]"
        )
    if not isinstance(augmentation, Augmentation):
        raise TypeError(f"augmentation: expected an Augmentation object. Received: {augmentation!r}")
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"count: expected an integer of at least 1. Received: {count!r}")
    changed = augmentation(np.repeat(image[None], count, axis=0), seed)
    columns = max(5, int(np.ceil(np.sqrt(count))))
    rows = -(-count // columns)
    figure, axes = new_figure(0.95 * (columns + 1), 0.95 * rows + 0.4, rows, columns + 1)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture in zip([axes[0, 0], *axes[:, 1:].flat], [image, *changed]):
        axis.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1)
    frame = axes[0, 0]
    frame.axis("on")
    frame.set(xticks=[], yticks=[])
    frame.spines[:].set(visible=True, color=TRAIN, linewidth=2)
    figure.suptitle(f"{count} augmented forms of the framed image", fontsize=9, x=0.01, ha="left")
    return figure
