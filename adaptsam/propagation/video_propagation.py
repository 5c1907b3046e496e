"""A structure outlined on one frame of a video, found on all others: P²SAM led by optical flow, in constant memory.

Frames follow each other: dense flow carries mask and place from the outlined frame and from its neighbours
(``carried_masks``), as registration does in a volume, P²SAM looks near that place, and both are weighed by what the
outlined frame says of the model (``video_fusion``). A frame is accepted where flow can be believed, or by the rule of
:mod:`adaptsam.slicewise.acceptance` for a single slice: where the structure is out of sight, the mask is empty.
Frames before the outlined one are followed backwards from it. Without flow (the papers), every frame stands alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.io.inputs import as_frame_masks, as_frames, as_picture, as_settings
from adaptsam.io.video.frames import Frames, check_frame
from adaptsam.progress import Progress, silent
from adaptsam.propagation.video_follower import FrameFollower
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise.frame_report import FrameResult


def propagate_video(
    frames: Frames | Sequence[np.ndarray] | str | Path,
    outlined: int | np.ndarray | str | Path,
    masks: Mapping[str, np.ndarray] | np.ndarray | str | Path,
    *,
    model: SamModel | str | Path | None = None,
    settings: VideoSettings | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
) -> Iterator[FrameResult]:
    """Find the structures of one outlined frame on every frame of a video, with P²SAM.

    What is checked is checked at once; the frames are read and segmented while the result is iterated, a few at a time,
    and neither they nor, without a ``store``, their embeddings are kept.

    Args:
        frames: at least two, or one where another picture is outlined; uint8 (H, W, 3) in RGB order or (H, W) gray; or
            the path of a video or of a folder of pictures, see :func:`adaptsam.io.read_frames`.
        outlined: the index of the outlined frame, from 0, or another picture of the same thing, or its path.
        masks: by structure, bool (H, W) on the outlined frame; or one mask, or the path of a mask picture.
        model: the promptable model; the bundled one by default.
        settings: see :class:`VideoSettings`.
        progress: receives "segment" with frames done and in all; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used); what it holds in memory adds to the frames.

    Returns:
        One :class:`FrameResult` per frame, in order. The outlined frame has the given masks.

    Raises:
        InputError: one frame only, no such frame, a mask that is empty, of another size, or smaller than one patch of
            the model's grid; while iterating, frames of different sizes.

    Example:
        >>> video = read_frames("clip.mp4")
        >>> for frame in propagate_video(video, 3, read_mask_picture("frame3.png")):
        ...     frame.index, frame.masks["structure"], frame.reports["structure"].confidence
    """
    options = as_settings(settings, VideoSettings)
    frames, outlined, masks = as_frames(frames), as_picture(outlined), as_frame_masks(masks)
    if len(frames) < (2 if isinstance(outlined, int | np.integer) else 1):
        raise InputError("The video has one frame; nothing can be followed in it. Give at least two frames.")
    drawn, picture = -1, outlined
    if isinstance(outlined, int | np.integer):
        drawn = int(outlined)
        if not 0 <= drawn < len(frames):
            raise InputError(f"There is no frame {drawn}: the frames are numbered 0 to {len(frames) - 1}.")
        picture = frames[drawn]
    image = check_frame(np.asarray(picture), None, max(drawn, 0))
    given = {name: _checked_mask(name, mask, image) for name, mask in masks.items()}
    if not given:
        raise InputError("There is no structure to follow; give at least one mask.")
    if store is None:
        model = model if isinstance(model, SamModel) else load_sam(model)
        one = 4 * model.embed_dim * model.grid_size**2
        store = EmbeddingStore(model, memory_bytes=one * embeddings_held(len(given), options))
    return FrameFollower(store, image, given, drawn, options, progress).follow(frames, len(frames))


def embeddings_held(structures: int, settings: VideoSettings) -> int:
    """Room for the priors of so many structures and for the frames at hand; what was segmented is not needed again."""
    return settings.priors(structures) + settings.batch_frames + 1


def _checked_mask(name: str, mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask, bool)
    if mask.shape != image.shape[:2]:
        shape = "×".join(str(length) for length in mask.shape[::-1])
        raise InputError(
            f"The mask of {name} has {shape} pixels and the outlined frame {image.shape[1]}×{image.shape[0]}; "
            "draw it on that frame."
        )
    if not mask.any():
        raise InputError(f"The mask of {name} is empty; outline the structure on the frame.")
    return mask
