"""Every setting is reached by its word, whatever group it is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from adaptsam import AutoPromptSettings, PropagationSettings, VideoSettings
from adaptsam.nested_settings import change, word_of


def words(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        word = prefix + word_of(settings, field.name)
        yield from words(value, f"{word}.") if is_dataclass(value) else [(word, value)]


@pytest.mark.parametrize("kind", [PropagationSettings, VideoSettings, AutoPromptSettings])
def test_every_setting_is_reached_by_its_word(kind: type) -> None:
    settings = kind()
    every = list(words(settings))
    assert len(dict(every)) == len(every)
    for word, value in every:
        assert change(settings, word, value) == settings


def test_one_word_reaches_a_choice_and_the_numbers_of_its_group() -> None:
    settings = change(PropagationSettings(), "acceptance", "off")
    settings = change(settings, "acceptance.factor", 3)
    settings = change(change(settings, "registration", "rigid"), "cleanup.joined_gap", 1)
    assert (settings.acceptance, settings.calibration.factor) == ("off", 3)
    assert (settings.register, settings.cleaning.joined_gap) == ("rigid", 1)
