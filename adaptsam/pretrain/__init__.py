"""How the bundled model is made: a pool of images with masks, views of them, and a training that can go on for days."""
