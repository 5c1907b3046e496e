"""Propagation of contours from one visit or frame to others with P²SAM, and their correction."""
