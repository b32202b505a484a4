"""Layers: each is a shape rule, parameters, forward and backward, on about one screen."""
