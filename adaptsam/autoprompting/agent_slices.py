"""A volume as an agent is shown it, in training and in use alike: its plane, its window, its view."""

from __future__ import annotations

import numpy as np

from adaptsam.alignsam import Shown
from adaptsam.image.cropping import View, full_view, square_view
from adaptsam.image.orientation import nearest_axes
from adaptsam.image.volume import Volume
from adaptsam.image.windowing import WindowChoice, choose_window
from adaptsam.slicewise.slice_images import SliceImages, body_square


class AgentSlices:
    """The slices of a volume for one agent.

    Args:
        volume: gray, or colour uint8.
        shown: how images are shown to the agent. Colour and single slices are shown whole, along k.
        image_size: of the SAM.
        window: in place of the agent's own.
        body_margin: side of the body view as a multiple of the body.

    Attributes:
        images: the volume in canonical order.
        view: the same for all slices.
    """

    def __init__(
        self,
        volume: Volume,
        shown: Shown,
        image_size: int,
        window: WindowChoice | None = None,
        body_margin: float = 1.04,
    ) -> None:
        flat = volume.array.ndim == 4 or volume.geometry.shape[0] == 1
        self.images = SliceImages(volume, nearest_axes(volume.geometry)[2] if flat else shown.plane)
        self._window = choose_window(volume, shown.window if window is None else window, modality=shown.modality)
        self.view: View = full_view(self.images.in_plane, self.images.pixel, image_size)
        if shown.view == "body" and not self.images.is_flat:
            centre, side = body_square(self.images, body_margin)
            self.view = square_view(centre, side, self.images.pixel, image_size)

    def image(self, k: int) -> np.ndarray:
        """Canonical slice ``k`` as the agent sees it, uint8 (h, w, 3)."""
        return self.images.image(k, self.view, self._window)

    def mask(self, mask: np.ndarray, k: int) -> np.ndarray:
        """A structure of the stored grid, bool (K, J, I), in the view of canonical slice ``k``, bool (h, w)."""
        return self.view.mask(self.images.orientation.apply(mask)[k])

    def restore(self, logits: np.ndarray) -> np.ndarray:
        """Logits (h, w) of the view on the whole slice (H, W)."""
        return self.view.restore(logits, self.images.in_plane)
