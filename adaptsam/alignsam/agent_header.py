"""The head of an agent's file, read with plain Python: its description without its weights. Needs no PyTorch."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptsam.alignsam.agent_description import FORMAT_VERSION, Description
from adaptsam.errors import CheckpointError, InputError
from adaptsam.storage.safetensors_head import read_head

SUFFIX = ".agent.safetensors"

#: Texts of the head.
KEY, PICTURE_KEY, NOVELTY_KEY = "adaptsam_agent", "adaptsam_agent_picture", "adaptsam_agent_novelty"


@dataclass(frozen=True)
class Header:
    """Head of an agent's file.

    Attributes:
        description: checked, all but the weights.
        novelty: bytes of the known kind of images; b"" where there is none.
    """

    description: Description
    novelty: bytes = field(default=b"", repr=False)


def read_header(path: Path) -> Header:
    """Read the head of an agent's file; its weights are not looked at.

    Raises:
        CheckpointError: the file is missing, cut off, no agent, forged, or of a format that is not known.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no agent file at {path}; check the path.")
    try:
        texts, _ = read_head(path)
        described = json.loads(texts.get(KEY, "null"))
        picture = base64.b64decode(texts.get(PICTURE_KEY, ""), validate=True)
        novelty = base64.b64decode(texts.get(NOVELTY_KEY, ""), validate=True)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is damaged or not an agent file; copy it again.") from error
    _check_version(described, path)
    try:
        return Header(Description.from_dict(described, picture), novelty)
    except (InputError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise not_an_agent(path, error) from error


def not_an_agent(path: Path, error: Exception) -> CheckpointError:
    """Error for a file whose description is not what it should be."""
    reason = error.args[0] if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return CheckpointError(
        f"{path.name} does not describe an agent as it should ({str(reason).rstrip('.')}); get it again."
    )


def _check_version(described: Any, path: Path) -> None:
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
