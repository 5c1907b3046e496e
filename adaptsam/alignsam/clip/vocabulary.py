"""Vocabulary of a CLIP: checks that it knows the words of a text, as far as model or tokenizer can tell."""

from __future__ import annotations

import re
from typing import Any

from adaptsam.alignsam.clip.clip_model import ClipModel
from adaptsam.alignsam.clip.prompt_templates import templates_for
from adaptsam.errors import InputError


def check_words(clip: ClipModel, text: str) -> None:
    """Raise InputError for words that mean nothing to a CLIP: they are named, and what it knows is.

    A model that lists its names (the bundled one) knows their words and those of the sentences around them. Of others
    only a tokenizer with a mark for what it cannot read tells; OpenAI's and most others read any word in pieces.
    """
    words = _words(text)
    if clip.names:
        known = set(_words(" ".join((*clip.names, *templates_for("ct")))))
        strange = [word for word in words if word not in known]
        hint = f"it knows {', '.join(sorted(clip.names))}"
    else:
        strange = [word for word in words if _cannot_read(clip.tokenizer, word)]
        hint = "write them in another way"
    if strange:
        named = ", ".join(repr(word) for word in dict.fromkeys(strange))
        raise InputError(f"{clip.name} does not know the word{'s'[: len(strange) > 1]} {named}; {hint}.")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _cannot_read(tokenizer: Any, word: str) -> bool:
    inner = getattr(tokenizer, "tokenizer", None)  # of open_clip's wrapper around a Hugging Face tokenizer
    unknown = getattr(inner, "unk_token_id", None)
    # A BPE that is complete names some token as "unknown" and never gives it for a word.
    if inner is None or unknown is None or unknown in (inner.eos_token_id, inner.pad_token_id):
        return False
    return unknown in inner.encode(word, add_special_tokens=False)
