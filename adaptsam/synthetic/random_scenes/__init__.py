"""Synthetic training images without anatomy."""

from adaptsam.synthetic.random_scenes.scenes import SHAPES, draw_scenes

__all__ = ["SHAPES", "draw_scenes"]
