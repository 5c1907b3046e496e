"""Agreement of a segmentation with its reference, and the motion and size of structures."""
