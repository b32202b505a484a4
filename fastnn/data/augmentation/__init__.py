"""New training images from small changes that keep labels (the notes, S6.2); found as `fastnn.augmentation`.

Which change is harmless depends on the data: a 6 turned by 180 degrees is a 9, a mirrored "b" is a "d", and a
ripe tomato is known by its colour. Use what leaves the label true; `fastnn.plots.augmented` shows what comes
out.
"""

from .base import Augmentation, Compose
from .geometry import RandomAffine, RandomCrop, RandomFlip, RandomRotation, RandomShift, RandomZoom
from .pixels import Cutout, RandomBrightness, RandomContrast

__all__ = [
    "Augmentation",
    "Compose",
    "Cutout",
    "RandomAffine",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "RandomZoom",
]
