"""Words that a CLIP does not know are named, as far as it or its tokenizer tells."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("open_clip")

from adaptsam.alignsam.clip import check_words, load_clip
from adaptsam.errors import InputError


def test_the_bundled_clip_names_the_words_that_it_does_not_know_and_those_it_does() -> None:
    clip = load_clip("phantom_clip", device="cpu")
    for text in ("heart", "the left Lung", "a lung tumour", "tumour in the lung"):
        check_words(clip, text)
    with pytest.raises(InputError, match="does not know the words 'gall', 'bladder'; it knows air around the body, "):
        check_words(clip, "gall bladder of the liver")
    with pytest.raises(InputError, match=r"does not know the word 'hearts'; .*heart, "):
        check_words(clip, "Hearts")


def test_a_tokenizer_that_marks_what_it_cannot_read_is_heard_and_one_that_reads_all_in_pieces_is_not() -> None:
    def clip(unknown: int | None) -> SimpleNamespace:
        inner = SimpleNamespace(
            unk_token_id=unknown,
            eos_token_id=2,
            pad_token_id=0,
            encode=lambda word, add_special_tokens: [1 if word == "сердце" else 7],
        )
        return SimpleNamespace(names=(), name="some CLIP", tokenizer=SimpleNamespace(tokenizer=inner))

    with pytest.raises(InputError, match="some CLIP does not know the word 'сердце'"):
        check_words(clip(1), "heart сердце")  # type: ignore[arg-type]
    for pieces in (clip(None), clip(2), SimpleNamespace(names=(), name="x", tokenizer=lambda texts: None)):
        check_words(pieces, "heart сердце")  # type: ignore[arg-type]
