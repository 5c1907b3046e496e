"""Settings of the propagation through a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from adaptsam.errors import InputError
from adaptsam.p2sam import P2SamSettings
from adaptsam.propagation.video_fusion import VideoFusionSettings
from adaptsam.slicewise import AcceptanceSettings, CleanupSettings, ConfidenceSettings


@dataclass(frozen=True)
class AnchorSettings:
    """Settings of re-anchoring: the frames of the result that become further priors.

    ``frames`` accepted ones in a row must be nearer to the drawn frame than ``distance_share`` of the limit, and their
    distances must differ by less than ``spread_share`` of it: the last of them is an anchor then, and the ``kept``
    newest count. Every later mask is judged by its distance to the drawn frame, whichever anchor it came from, so that
    errors cannot add up from anchor to anchor.
    """

    kept: int = 2
    frames: int = 3
    distance_share: float = 0.6
    spread_share: float = 0.2


@dataclass(frozen=True)
class VideoSettings:
    """Settings of the propagation through a video.

    Args:
        p2sam: the method on one frame; ``p2sam.domain`` "natural" for things and animals.
        acceptance: "calibrated", or "off" to keep a mask on every frame (the papers).
        calibration: of the acceptance; ``ring_mm`` counts pixels here. On three real sequences, the distances of frames
            with the structure and of the same ones without it overlapped, and the limit of single slices (0.6 of the
            distance to the surroundings) rejected nine of nine true frames of one: so it is 0.8, as for several slices.
        flow: "calibrated" carries masks by optical flow and weighs the method with them; "off" is the method alone,
            frame by frame (the papers).
        fusing: how they are weighed.
        cleanup: whether every mask loses small components and holes that the outlined one has not.
        cleaning: what that is.
        confidence: how it is put together; the neighbour is the frame before.
        area_share: without flow, the part in it, as an exponent, of the mask's share of the frame against the outlined
            one's, smaller over larger.
        reanchor: whether confident frames become further priors.
        anchors: when they do.
        batch_frames: frames that are decoded together and in memory at a time.
    """

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "acceptance": ("acceptance", "calibration"),
        "flow": ("flow", "fusing"),
        "cleanup": ("cleanup", "cleaning"),
        "reanchor": ("reanchor", "anchors"),
    }

    p2sam: P2SamSettings = field(default_factory=P2SamSettings)
    acceptance: str = "calibrated"
    calibration: AcceptanceSettings = field(default_factory=lambda: AcceptanceSettings(single_slice_share=0.8))
    flow: str = "calibrated"
    fusing: VideoFusionSettings = field(default_factory=VideoFusionSettings)
    cleanup: bool = True
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    area_share: float = 1 / 3
    reanchor: bool = False
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    batch_frames: int = 4

    def __post_init__(self) -> None:
        for name in ("acceptance", "flow"):
            if getattr(self, name) not in ("calibrated", "off"):
                raise InputError(f"{name} can be 'calibrated' or 'off', not {getattr(self, name)!r}.")
        if not 0 <= self.area_share <= 1:
            raise InputError(f"area_share must lie between 0 and 1, but is {self.area_share!r}.")
        if self.batch_frames < 1:
            raise InputError(f"batch_frames must be at least 1, but is {self.batch_frames}.")

    def priors(self, structures: int) -> int:
        """The pictures with masks that frames are segmented from, for so many structures."""
        return structures * (1 + self.anchors.kept * self.reanchor)
