"""What the worker says to people can be translated: each sentence is in the module's table, and its values survive."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "slicer"))


def test_the_table_has_every_sentence_of_the_worker_and_no_other(application: Any) -> None:
    import collect_sentences
    from AdaptSAMLib import sentences

    written = sentences.table(lambda one: one)
    assert collect_sentences.collected() == written, "run Testing/tools/slicer/collect_sentences.py"


def test_no_place_of_a_value_is_taken_for_text(application: Any) -> None:
    """A template that str.format fills is collected with its braces doubled, and then matches nothing that is said."""
    from AdaptSAMLib import sentences

    assert [one for one in sentences.table(lambda one: one) if re.search(r"\{\{\w+\}\}", str(one))] == []


def test_what_is_collected_is_the_workers_whatever_else_this_process_imported(application: Any) -> None:
    import collect_sentences

    import adaptsam.evaluation.evaluation_report  # noqa: F401, as a whole run of the tests has, and a worker never

    names = {one.relative_to(collect_sentences.ROOT).as_posix() for one in collect_sentences.files()}
    assert {"adaptsam/worker/server.py", "adaptsam/alignsam/clip/clip_files.py"} <= names
    assert not any(one.startswith(("adaptsam/evaluation", "adaptsam/commands")) for one in names)


def test_a_sentence_is_said_in_slicers_language_with_its_values(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import sentences

    from adaptsam.worker.client import why_lost

    german = {
        "The worker stopped by itself (code {code}); run it again.{reason}": "Der Prozess endete (Code {code}).{reason}",
        "There is not enough memory; choose a smaller model or fewer structures.": "Der Speicher reicht nicht.",
    }
    monkeypatch.setattr(sentences, "_known", [])
    monkeypatch.setattr(sentences, "tr", lambda text: german.get(text, text))
    assert sentences.translated("There is not enough memory; choose a smaller model or fewer structures.") == (
        "Der Speicher reicht nicht."
    )
    event = {"event": "lost", "message": why_lost(3, ["ValueError: odd"]), "warnings": ["Nobody wrote this down"]}
    assert sentences.toldIn(event)["message"] == "Der Prozess endete (Code 3). It said last: ValueError: odd"
    assert event["warnings"] == ["Nobody wrote this down"]


def test_a_sentence_within_a_sentence_labels_and_whole_lists_are_translated_too(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import sentences

    german = {
        "{error} The agent after {len} episodes was kept.": "{error} Der Agent nach {len} Episoden blieb.",
        "There is not enough memory; choose a smaller model or fewer structures.": "Der Speicher reicht nicht.",
        "CPU in 8 bits, faster": "CPU mit 8 Bit, schneller",
        "Phantom visit {number}": "Phantom, Besuch {number}",
        "MobileSAM, SAM with a small encoder; machines without a GPU": "MobileSAM mit kleinem Encoder",
    }
    monkeypatch.setattr(sentences, "_known", [])
    monkeypatch.setattr(sentences, "tr", lambda text: german.get(text, text))
    memory = "There is not enough memory; choose a smaller model or fewer structures."
    event = {
        "message": f"{memory} The agent after 7 episodes was kept.",
        "devices": [{"label": "CPU in 8 bits, faster", "free": 3}],
        "agent": {"problem": memory},
        "models": [{"card": "MobileSAM, SAM with a small encoder; machines without a GPU. https://example.org"}],
        "title": "Phantom visit 2",
        "structures": [{"name": memory}],
    }
    assert sentences.toldIn(event) == {
        "message": "Der Speicher reicht nicht. Der Agent nach 7 Episoden blieb.",
        "devices": [{"label": "CPU mit 8 Bit, schneller", "free": 3}],
        "agent": {"problem": "Der Speicher reicht nicht."},
        "models": [{"card": "MobileSAM mit kleinem Encoder. https://example.org"}],
        "title": "Phantom, Besuch 2",
        "structures": [{"name": memory}],
    }


def test_every_sentence_of_the_table_can_be_filled_and_is_found_again(application: Any) -> None:
    from AdaptSAMLib import sentences

    for one in sentences.table(lambda text: text):
        names = sentences.pattern(one).groupindex
        said = one.format(**{name: f"<{name}>" for name in names})
        assert sentences.pattern(one).fullmatch(said), one
        assert sentences.translated(said) == said
