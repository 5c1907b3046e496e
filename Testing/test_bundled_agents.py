"""Agents that come with AdaptSAM, if any: for the bundled SAM, and better than what needs no more than they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import adaptsam
from adaptsam.alignsam import load_agent
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE, agents_in
from adaptsam.cli import main
from adaptsam.sam import load_sam

BUNDLED = Path(adaptsam.__file__).parents[1] / "Resources" / "agents"
LARGEST = 5_000_000


def test_every_bundled_agent_beats_its_comparators_on_the_bundled_model() -> None:
    model = load_sam(None, "cpu")
    for path in agents_in(BUNDLED):
        package = load_agent(path, model)
        assert path.stat().st_size < LARGEST
        assert package.target.code is not None
        assert package.scores["comparators"], path.name
        assert not package.outdone_by, path.name
        assert package.novelty is not None, path.name


def test_the_list_has_every_bundled_agent_or_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["agents", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["agents"]
    assert len(rows) == len(agents_in(BUNDLED))
    assert not any(row["note"] for row in rows)
    assert main(["agents", "list"]) == 0
    printed = capsys.readouterr().out
    if not rows:
        assert "adaptsam train alignsam" in printed
