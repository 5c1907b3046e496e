"""Synthetic training images without anatomy."""

from adaptsam.finetune.synthetic.scenes import SHAPES, draw_scenes

__all__ = ["SHAPES", "draw_scenes"]
