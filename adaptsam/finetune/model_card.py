"""The card beside a fine-tuned model: what it is, what it was trained with, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_card(
    settings: Mapping[str, Any], scores: Sequence[Mapping[str, float]], cases: Mapping[str, Sequence[str]]
) -> str:
    """Markdown.

    Args:
        settings: of the training.
        scores: of its validations, with the epoch; 0 is the model before.
        cases: by part.
    """
    best = max(scores, key=lambda row: row["dice"])
    counts = ", ".join(f"{len(names)} to {part}" for part, names in cases.items()) or "not told"
    tuning = settings.get("tuning", {})
    return "\n".join(
        [
            "# A Segment Anything Model, fine-tuned with AdaptSAM",
            "",
            "For research only; not a medical device. The licence of the images that it was trained on may restrict",
            "its use.",
            "",
            f"- Started from the weights with SHA-256 {settings.get('base', '')}.",
            f"- Tuning: {tuning.get('method', '')} {tuning.get('settings', {})}.",
            f"- Data: {settings.get('data', '')}. Cases: {counts}; `split.json` names them.",
            "",
            "| Dice in validation | epoch | no prompt | one point | box | what chose |",
            "|---|---|---|---|---|---|",
            *(_row(name, row) for name, row in (("before", scores[0]), ("best", best))),
            "",
            "| setting | value |",
            "|---|---|",
            *(f"| {key} | {value} |" for key, value in settings.items() if key not in ("base", "tuning", "data")),
            "",
        ]
    )


def _row(name: str, row: Mapping[str, float]) -> str:
    told = " | ".join(f"{row[key]:.3f}" if key in row else "" for key in ("none", "point", "box", "dice"))
    return f"| {name} | {int(row['epoch'])} | {told} |"
