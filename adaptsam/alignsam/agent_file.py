"""An agent in one file: its weights, what it finds, which SAM it prompts, how it is shown an image, how good it is.

The file is a safetensors file, weights beside one JSON text; nothing in it is ever executed. Everything is checked
before it is used, because packages come from other people.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from adaptsam.alignsam.agent_description import Description
from adaptsam.alignsam.agent_header import KEY, NOVELTY_KEY, PICTURE_KEY, Header, not_an_agent, read_header
from adaptsam.alignsam.agent_network import Agent
from adaptsam.alignsam.agent_target import Shown, Target
from adaptsam.alignsam.novelty import Novelty
from adaptsam.errors import CheckpointError, InputError, OutputError
from adaptsam.sam import SamModel
from adaptsam.sam.former_model import FORMER_KIND, former_model
from adaptsam.storage.atomic_files import replacing


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
        _ = self.description  # checked as it is made
        if self.novelty is not None and len(self.novelty.mean) != 2 * self.agent.channels:
            raise InputError("The kind of images that an agent knows has other channels than the agent.")

    @property
    def description(self) -> Description:
        """All but the weights."""
        return Description(
            settings=self.agent.settings,
            channels=self.agent.channels,
            novelty_limit=None if self.novelty is None else self.novelty.limit,
            **_shared(self),
        )

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
        return self.description.outdone_by

    def describe(self) -> dict[str, Any]:
        """Return all but weights and picture as plain values for JSON."""
        return self.description.to_dict()


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
            save_file(tensors, temporary, {KEY: described} | _kept(package.picture) | _kept_novelty(package.novelty))
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
    header = read_header(path)
    try:
        package = _package(header)
    except (InputError, ValueError) as error:
        raise not_an_agent(path, error) from error
    _fill(package.agent, _tensors(path), path)
    if model is not None:
        package.check_model(model)
        package.agent.to(model.device)
    return package


def _kept(picture: bytes) -> dict[str, str]:
    """A picture as the file keeps it."""
    return {PICTURE_KEY: base64.b64encode(picture).decode("ascii")} if picture else {}


def _kept_novelty(novelty: Novelty | None) -> dict[str, str]:
    """Bytes of the known kind in the file: float32, least significant byte first."""
    if novelty is None:
        return {}
    parts = [np.asarray(part, "<f4").tobytes() for part in (novelty.mean, novelty.spread)]
    return {NOVELTY_KEY: base64.b64encode(b"".join(parts)).decode("ascii")}


def _novelty(limit: float | None, kept: bytes) -> Novelty | None:
    if limit is None:
        return None
    mean, spread = np.frombuffer(kept, "<f4").astype(np.float32).reshape(2, -1)
    return Novelty(mean, spread, float(limit))


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged or not an agent file; copy it again.") from error


def _package(header: Header) -> Package:
    one = header.description
    agent = Agent(one.settings, one.channels).eval()
    return Package(agent=agent, novelty=_novelty(one.novelty_limit, header.novelty), **_shared(one))


def _shared(one: Description | Package) -> dict[str, Any]:
    """The fields that a package and its description have in common."""
    names = {each.name for each in fields(Description)} & {each.name for each in fields(Package)}
    return {name: getattr(one, name) for name in names}


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
