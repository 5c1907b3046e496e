"""What ``adaptsam train RECIPE`` says while it runs."""

from __future__ import annotations

import logging

from adaptsam.commands.recipe_command import EpochLines


def line(text: str) -> str:
    return EpochLines().format(logging.LogRecord("adaptsam.train", logging.INFO, "", 0, text, None, None))


def test_scores_of_an_epoch_are_told_in_words():
    said = line("Epoch[2] Metrics -- box: 0.8687 dice: 0.8351 none: 0.7935 point: 0.8431 ")
    assert said == "epoch 2: Dice in validation 0.8351 (no prompt 0.7935, one point 0.8431, box 0.8687)"


def test_other_lines_stay_as_they_are():
    assert line("Loading data …") == "Loading data …"
