"""fastnn: a deep learning framework to learn from, over the fastest CPU kernels."""
__version__ = "0.1.0"
