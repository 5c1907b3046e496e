"""The text of an agent's file: all but its weights, checked, because files come from other people. Needs no PyTorch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from adaptsam.alignsam.agent_target import Shown, Target, check_text, is_number
from adaptsam.alignsam.alignsam_settings import AlignSamSettings
from adaptsam.errors import InputError

FORMAT_VERSION = 1

# More than any agent needs, and little enough that a forged file cannot exhaust the machine.
_MOST_CHANNELS = 4096
_MOST_PICTURE_BYTES, _MOST_PICTURE_SIDE = 50_000, 256


@dataclass(frozen=True)
class Description:
    """An agent without its weights; the attributes are those of :class:`adaptsam.alignsam.Package`.

    Attributes:
        settings: how it was trained and is used.
        channels: of its SAM's features.
        novelty_limit: of the kind of images that it knows; None where that is not known.

    Raises :class:`InputError` for a value that means nothing.
    """

    target: Target
    settings: AlignSamSettings
    channels: int
    sam_kind: str
    sam_sha256: str
    shown: Shown = field(default_factory=Shown)
    text: str = ""
    clip: str = ""
    least_evidence: float = 0.5
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes = field(default=b"", repr=False)
    novelty_limit: float | None = None

    def __post_init__(self) -> None:
        check_text(self.sam_kind, "kind of SAM")
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sam_sha256)):
            raise InputError("The SHA-256 of an agent's SAM has 64 hexadecimal digits.")
        if type(self.channels) is not int or not 4 <= self.channels <= _MOST_CHANNELS:
            raise InputError(f"It wants features of {self.channels!r} channels")
        if not is_number(self.least_evidence) or not 0 <= self.least_evidence <= 1:
            raise InputError(f"The least evidence of an agent lies between 0 and 1, not {self.least_evidence!r}.")
        for text, what in ((self.text, "text prompt"), (self.clip, "name of CLIP")):
            if text:
                check_text(text, what)
        if (self.settings.branch == "explicit") != bool(self.text):
            raise InputError("An agent of the explicit branch has a text prompt, and one of the implicit branch none.")
        _check_picture(self.picture)
        if self.novelty_limit is not None and not is_number(self.novelty_limit):
            raise InputError("The limit of novelty is a number")

    @property
    def comparators(self) -> dict[str, float]:
        """Simpler ways to the same mask with their IoU, on the images of the scores."""
        known = self.scores.get("comparators")
        known = known if isinstance(known, Mapping) else {}
        return {str(name): float(value) for name, value in known.items() if is_number(value)}

    @property
    def outdone_by(self) -> dict[str, float]:
        """The comparators that did at least as well as the agent, best first."""
        own = self.scores.get("iou")
        if own is None or not is_number(own):
            return {}
        figures = sorted(self.comparators.items(), key=lambda one: -one[1])
        return {name: value for name, value in figures if value >= own}

    def to_dict(self) -> dict[str, Any]:
        """All but the picture as plain values for JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "target": asdict(self.target),
            "branch": self.settings.branch,
            "text": self.text,
            "clip": self.clip,
            "sam": {"kind": self.sam_kind, "sha256": self.sam_sha256, "channels": self.channels},
            "shown": asdict(self.shown),
            "least_evidence": float(self.least_evidence),
            "novelty_limit": None if self.novelty_limit is None else float(self.novelty_limit),
            "settings": self.settings.to_dict(),
            "training": dict(self.training),
            "scores": dict(self.scores),
            "outdone_by": self.outdone_by,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any], picture: bytes = b"") -> Description:
        """The inverse of :meth:`to_dict`, of values that anybody may have written.

        Raises:
            InputError, KeyError, TypeError, ValueError, AttributeError, RecursionError: they describe no agent.
        """
        settings = AlignSamSettings.from_dict(described["settings"])
        if settings.branch != described["branch"]:
            raise InputError("It names two branches")
        target, shown = dict(described["target"]), dict(described["shown"])
        target["code"] = None if target["code"] is None else tuple(target["code"])
        if not isinstance(shown["window"], str):
            shown["window"] = tuple(shown["window"])
        return cls(
            target=Target(**target),
            settings=settings,
            channels=described["sam"]["channels"],
            sam_kind=described["sam"]["kind"],
            sam_sha256=described["sam"]["sha256"],
            shown=Shown(**shown),
            text=described["text"],
            clip=described["clip"],
            least_evidence=described["least_evidence"],
            training=dict(described["training"]),
            scores=dict(described["scores"]),
            picture=picture,
            novelty_limit=described.get("novelty_limit"),
        )


def _check_picture(picture: bytes) -> None:
    """A PNG by its first bytes, small by its own header: whoever draws it is not made to unpack gigabytes."""
    if not picture:
        return
    sides = [int.from_bytes(picture[start : start + 4], "big") for start in (16, 20)]
    is_png = picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[12:16] == b"IHDR"
    if not is_png or len(picture) > _MOST_PICTURE_BYTES or not all(1 <= side <= _MOST_PICTURE_SIDE for side in sides):
        raise InputError(
            f"The picture of an agent is a PNG of at most {_MOST_PICTURE_SIDE} pixels a side and "
            f"{_MOST_PICTURE_BYTES // 1000} kB."
        )
