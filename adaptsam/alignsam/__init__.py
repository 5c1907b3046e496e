"""AlignSAM: an agent that learns where to click, on one image (Huang et al., CVPR 2024)."""
