"""An agent in one file: its weights, what it finds, which SAM it prompts, how it is shown an image, how good it is.

The file is a safetensors file, weights beside one JSON text; nothing in it is ever executed. Everything is checked
before it is used, because packages come from other people.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from adaptsam.alignsam.agent_network import Agent
from adaptsam.alignsam.alignsam_settings import AlignSamSettings
from adaptsam.alignsam.novelty import Novelty
from adaptsam.errors import CheckpointError, InputError, OutputError
from adaptsam.sam import SamModel
from adaptsam.sam.former_model import FORMER_KIND, former_model
from adaptsam.storage.atomic_files import replacing

FORMAT_VERSION = 1
SUFFIX = ".agent.safetensors"

_KEY, _PICTURE_KEY, _NOVELTY_KEY = "adaptsam_agent", "adaptsam_agent_picture", "adaptsam_agent_novelty"
_VIEWS = ("full", "body")
_LONGEST_TEXT = 300
# More than any agent needs, and little enough that a forged file cannot exhaust the machine.
_MOST_CHANNELS = 4096
_MOST_PICTURE_BYTES, _MOST_PICTURE_SIDE = 50_000, 256


@dataclass(frozen=True)
class Target:
    """Target of an agent: its name, code and shape.

    Attributes:
        name: of the structure it makes.
        code: value, scheme and meaning of its standard term, as ("80891009", "SCT", "Heart"); None where there is none.
        components: the most separate parts that the target has, such as 2 for lungs.
        holes: whether its slices have holes that must stay.
    """

    name: str
    code: tuple[str, str, str] | None = None
    components: int = 1
    holes: bool = False

    def __post_init__(self) -> None:
        for text in (self.name, *(self.code or ())):
            _check_text(text, "target")
        if self.code is not None and len(self.code) != 3:
            raise InputError("The code of a target has three parts: value, scheme and meaning.")
        if type(self.components) is not int or not 1 <= self.components <= 100 or type(self.holes) is not bool:
            raise InputError("A target has 1 to 100 components, and holes or none.")


@dataclass(frozen=True)
class Shown:
    """Presentation of the training images to SAM, which those in use must share.

    Attributes:
        window: a name of :data:`adaptsam.image.windowing.WINDOWS`, "auto" or "percentiles", or two intensities.
        view: "full" for whole slices, "body" for the square around the body.
        plane: the world axis along which slices run, 0 (sagittal), 1 (coronal) or 2 (axial).
        modality: "CT", "MR", …; "" for any.
        color: whether images are in colour, as of an endoscope.
    """

    window: str | tuple[float, float] = "auto"
    view: str = "full"
    plane: int = 2
    modality: str = ""
    color: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.window, str):
            _check_text(self.window, "window")
        elif len(self.window) != 2 or not all(_is_number(v) for v in self.window) or self.window[0] >= self.window[1]:
            raise InputError(f"An intensity window is a name or two rising numbers, not {str(self.window)[:40]}.")
        if self.view not in _VIEWS or self.plane not in (0, 1, 2) or type(self.color) is not bool:
            raise InputError(f"An agent looks at one of the views {', '.join(_VIEWS)} in one of the planes 0, 1, 2.")
        if self.modality:
            _check_text(self.modality, "modality")


@dataclass(frozen=True, eq=False)
class Package:
    """An agent with everything that its use needs.

    Attributes:
        agent: in evaluation mode, on the CPU when it was read.
        target: what it finds.
        sam_kind, sam_sha256: of the one SAM that it prompts.
        shown: how an image must be shown.
        text: the text prompt of the explicit branch; "" in the implicit one.
        clip: which CLIP made its attention maps: its name, and its SHA-256 where only that one will do; "" in the
            implicit branch.
        least_evidence: a slice with less of it does not hold the target; see
            :class:`adaptsam.alignsam.Evidence`, ``total``.
        training: how it was trained: any JSON values, without anything that names a patient.
        scores: how good it is, by name: numbers, or lists of them.
        picture: a small PNG of what it finds, for lists; b"" without one.
        novelty: the kind of images that it knows; None where that is not known.
    """

    agent: Agent = field(repr=False)
    target: Target
    sam_kind: str
    sam_sha256: str
    shown: Shown = field(default_factory=Shown)
    text: str = ""
    clip: str = ""
    least_evidence: float = 0.5
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes = field(default=b"", repr=False)
    novelty: Novelty | None = None

    def __post_init__(self) -> None:
        _check_text(self.sam_kind, "kind of SAM")
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sam_sha256)):
            raise InputError("The SHA-256 of an agent's SAM has 64 hexadecimal digits.")
        if not _is_number(self.least_evidence) or not 0 <= self.least_evidence <= 1:
            raise InputError(f"The least evidence of an agent lies between 0 and 1, not {self.least_evidence!r}.")
        for text, what in ((self.text, "text prompt"), (self.clip, "name of CLIP")):
            if text:
                _check_text(text, what)
        if (self.agent.settings.branch == "explicit") != bool(self.text):
            raise InputError("An agent of the explicit branch has a text prompt, and one of the implicit branch none.")
        _check_picture(self.picture)
        if self.novelty is not None and len(self.novelty.mean) != 2 * self.agent.channels:
            raise InputError("The kind of images that an agent knows has other channels than the agent.")

    def check_model(self, model: SamModel) -> None:
        """Raise CheckpointError unless ``model`` is the SAM that the agent was trained with."""
        if self.sam_kind == FORMER_KIND:
            raise CheckpointError(former_model(f"The agent for {self.target.name} prompts", "train it again with lite"))
        if model.sha256 != self.sam_sha256 or model.embed_dim != self.agent.channels:
            raise CheckpointError(
                f"The agent for {self.target.name} was trained with another SAM ({self.sam_kind}, SHA-256 "
                f"{self.sam_sha256[:12]}…, and this is {model.kind}, {model.sha256[:12]}…); give that one."
            )

    @property
    def outdone_by(self) -> dict[str, float]:
        """Comparators that did at least as well as the agent on the images of its scores, with their IoU, best first.

        Empty where it beat all of them, and where its file does not tell; see ``adaptsam.autoprompting.comparators``.
        """
        known, own = self.scores.get("comparators"), self.scores.get("iou")
        if not isinstance(known, Mapping) or own is None or not _is_number(own):
            return {}
        figures = {str(name): float(value) for name, value in known.items() if _is_number(value)}
        return {name: value for name, value in sorted(figures.items(), key=lambda one: -one[1]) if value >= own}

    def describe(self) -> dict[str, Any]:
        """Return all but weights and picture as plain values for JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "target": asdict(self.target),
            "branch": self.agent.settings.branch,
            "text": self.text,
            "clip": self.clip,
            "sam": {"kind": self.sam_kind, "sha256": self.sam_sha256, "channels": self.agent.channels},
            "shown": asdict(self.shown),
            "least_evidence": float(self.least_evidence),
            "novelty_limit": None if self.novelty is None else float(self.novelty.limit),
            "settings": self.agent.settings.to_dict(),
            "training": dict(self.training),
            "scores": dict(self.scores),
            "outdone_by": self.outdone_by,
        }


def save_agent(path: str | PathLike[str], package: Package) -> None:
    """Write a package. The file appears whole or not at all; an existing one is replaced.

    Raises:
        InputError: a weight is not finite, or the training record or the scores are not JSON.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in package.agent.state_dict().items()}
    _check_finite(tensors, "The agent")
    try:
        described = json.dumps(package.describe(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The training record and scores of an agent must be JSON values ({error}).") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, {_KEY: described} | _kept(package.picture) | _kept_novelty(package.novelty))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The agent cannot be written to {path}: {error}.") from error


def load_agent(path: str | PathLike[str], model: SamModel | None = None) -> Package:
    """Read a package.

    Args:
        path: the file.
        model: the SAM that it shall prompt, which must be the one it was trained with; the agent comes on its device.
            None reads without that check.

    Raises:
        CheckpointError: the file is missing, damaged, forged, of an unknown format or a later version, or for another
            SAM.
    """
    path = Path(path)
    described, tensors, picture, novelty = _read(path)
    try:
        package = _package(described, picture, novelty)
    except (InputError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = error.args[0] if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{path.name} does not describe an agent as it should ({str(reason).rstrip('.')}); get it again."
        ) from error
    _fill(package.agent, tensors, path)
    if model is not None:
        package.check_model(model)
        package.agent.to(model.device)
    return package


def _kept(picture: bytes) -> dict[str, str]:
    """A picture as the file keeps it."""
    return {_PICTURE_KEY: base64.b64encode(picture).decode("ascii")} if picture else {}


def _kept_novelty(novelty: Novelty | None) -> dict[str, str]:
    """Bytes of the known kind in the file: float32, least significant byte first."""
    if novelty is None:
        return {}
    parts = [np.asarray(part, "<f4").tobytes() for part in (novelty.mean, novelty.spread)]
    return {_NOVELTY_KEY: base64.b64encode(b"".join(parts)).decode("ascii")}


def _novelty(limit: object, kept: bytes) -> Novelty | None:
    if limit is None:
        return None
    if not _is_number(limit):
        raise InputError("The limit of novelty is a number")
    mean, spread = np.frombuffer(kept, "<f4").astype(np.float32).reshape(2, -1)
    return Novelty(mean, spread, float(limit))  # type: ignore[arg-type]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], bytes, bytes]:
    if not path.is_file():
        raise CheckpointError(f"There is no agent file at {path}; check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            described = json.loads(texts.get(_KEY, "null"))
            picture = base64.b64decode(texts.get(_PICTURE_KEY, ""), validate=True)
            novelty = base64.b64decode(texts.get(_NOVELTY_KEY, ""), validate=True)
            ours = isinstance(described, dict) and described.get("format_version") == FORMAT_VERSION
            names = list(file.keys()) if ours else []
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is damaged or not an agent file; copy it again.") from error
    if not isinstance(described, dict) or "format_version" not in described:
        raise CheckpointError(
            f"{path.name} is not an agent file of AdaptSAM; a SAM checkpoint, for example, is given as the checkpoint."
        )
    version = described["format_version"]
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{path.name} has an agent format that is not known; get the file again.")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name} was written by a newer AdaptSAM (agent format {version}, this reads {FORMAT_VERSION}); "
            "update AdaptSAM."
        )
    return described, tensors, picture, novelty


def _package(described: Mapping[str, Any], picture: bytes, novelty: bytes) -> Package:
    settings = AlignSamSettings.from_dict(described["settings"])
    channels = described["sam"]["channels"]
    if type(channels) is not int or not 4 <= channels <= _MOST_CHANNELS:
        raise InputError(f"It wants features of {channels!r} channels")
    if settings.branch != described["branch"]:
        raise InputError("It names two branches")
    target, shown = dict(described["target"]), dict(described["shown"])
    target["code"] = None if target["code"] is None else tuple(target["code"])
    if not isinstance(shown["window"], str):
        shown["window"] = tuple(shown["window"])
    return Package(
        agent=Agent(settings, channels).eval(),
        target=Target(**target),
        sam_kind=described["sam"]["kind"],
        sam_sha256=described["sam"]["sha256"],
        shown=Shown(**shown),
        text=described["text"],
        clip=described["clip"],
        least_evidence=described["least_evidence"],
        training=dict(described["training"]),
        scores=dict(described["scores"]),
        picture=picture,
        novelty=_novelty(described.get("novelty_limit"), novelty),
    )


def _fill(agent: Agent, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    expected = agent.state_dict()
    if set(expected) != set(tensors):
        odd = sorted(set(expected) ^ set(tensors))[0]
        raise CheckpointError(f"{path.name} does not hold an agent's weights ({odd!r} differs); get it again.")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise CheckpointError(f"{path.name} does not hold an agent's weights ({name!r} differs); get it again.")
    try:
        _check_finite(tensors, path.name)
    except InputError as error:
        raise CheckpointError(str(error)) from error
    agent.load_state_dict(dict(tensors))


def _check_finite(tensors: Mapping[str, torch.Tensor], what: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{what} holds numbers that are not finite (NaN) in {name!r}; train the agent again.")


def _check_text(text: object, what: str) -> None:
    """Short and printable: it goes to terminals, reports and DICOM files."""
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise InputError(f"The {what} of an agent is a short, printable text, not {str(text)[:40]!r}.")


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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
