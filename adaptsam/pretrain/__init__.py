"""Training of the bundled models: a pool of images with masks, views of them, and a training of any length."""
