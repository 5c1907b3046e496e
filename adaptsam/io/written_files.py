"""Kinds of files that AdaptSAM writes beside images and structures: models, what it keeps, and its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptsam.errors import InputError
from adaptsam.storage.safetensors_head import read_head

# By the key of their metadata: the kind, and what to do with it. The writers stand in rooms above.
_MODELS = {
    "adaptsam_agent": ("agent", "See it with 'adaptsam agents inspect', and give it as --agent."),
    "adaptsam_adapter": ("adapter of a trained model", "Give the best.safetensors beside it as --checkpoint."),
    "adaptsam": ("SAM of AdaptSAM", "Give it as --checkpoint."),
}
_KEPT = "AdaptSAM keeps it for later runs: see 'adaptsam cache'."
# By the keys of a JSON object.
_RECORDS = (
    ({"protocol", "evaluated", "results"}, "summary of an evaluation", "Its report.html shows it."),
    ({"settings", "losses", "scores"}, "curves of a training", "The same command goes on with the training."),
    ({"bundle_root"}, "recipe of a training", "Run it with 'adaptsam train'."),
    ({"monai_version", "network_data_format"}, "description of a recipe", "Run its folder with 'adaptsam train'."),
    ({"seed", "settings"}, "truth of a phantom", "It says what was drawn."),
    ({"frames", "overlay"}, "summary of a tracked video", "Its report.html shows it."),
)

Description = tuple[str, dict[str, object], str]


def describe_model(path: Path) -> Description:
    """Kind, facts and use of a file of weights, of which pickles are not opened.

    Raises:
        InputError: a ``.safetensors`` file that is damaged.
    """
    facts: dict[str, object] = {"MB": path.stat().st_size / 1e6}
    if path.suffix.lower() != ".safetensors":
        use = "Give a SAM's as --checkpoint; a state.pt belongs to a training, which the same command goes on with."
        return "weights of a model", facts, use
    try:
        metadata, header = read_head(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is damaged or no safetensors file; copy it again.") from error
    facts["tensors"] = len(header)
    for key, (kind, use) in _MODELS.items():
        if key in metadata:
            return kind, facts, use
    if set(metadata) == {"sha256"}:
        return "embedding that is kept" if set(header) == {"features"} else "registration that is kept", facts, _KEPT
    if any(name.removeprefix("module.").startswith("image_encoder.") for name in header):
        return "weights of a SAM", facts, "Give it as --checkpoint."
    return "weights of a model", facts, "It is no SAM and no agent, which AdaptSAM reads."


def describe_json(path: Path) -> tuple[Description, list[dict[str, object]]]:
    """Kind, facts and use of a JSON file, and the structures of a run's summary."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ("file .json", {}, "Not read: it is damaged, or no JSON."), []
    rows = _run_rows(told)
    if rows:
        return ("summary of a run", {}, "Its report.html shows it."), rows
    if path.parent.name == "configs" and isinstance(told, Mapping) and "monai_version" not in told:
        return ("recipe of a training", {}, "Run its folder with 'adaptsam train'."), []
    for keys, kind, use in _RECORDS:
        if isinstance(told, Mapping) and keys <= told.keys():
            return (kind, {}, use), []
    return ("file .json", {}, "Not read: AdaptSAM reads no images or structures from it."), []


def _run_rows(told: Any) -> list[dict[str, object]]:
    try:
        targets = [(int(target["target"]), one) for target in told["targets"] for one in target["structures"]]
        return [
            {"target": number, "structure": str(one["name"]), "status": str(one["status"])} for number, one in targets
        ]
    except (ValueError, TypeError, KeyError):
        return []
