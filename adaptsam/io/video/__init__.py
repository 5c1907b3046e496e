"""Video files and folders of frames, read one frame at a time."""
