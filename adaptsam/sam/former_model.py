"""The model that came with AdaptSAM before `lite`: what belongs to it is recognised, and refused in a sentence."""

from __future__ import annotations

#: What its checkpoints, those that were fine-tuned from it, and agents for it call their model.
FORMER_KIND = "small"
FORMER_SHA256 = "21217fdc22962c1981e81a0a178204c1e3a6b5d6d36a7f2ab33e7adbfa5e4cb3"


def former_model(beginning: str, instead: str) -> str:
    """Sentence that something belongs to the former model.

    Args:
        beginning: subject and verb, such as "FILE holds".
        instead: what to do, without a full stop.
    """
    return f"{beginning} the model small, which lite, trained on real images, has replaced; {instead}."
