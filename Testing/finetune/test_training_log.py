"""What is said of a training while it runs."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptsam.finetune.training_log import TrainingLog, peak_memory


def test_a_line_has_loss_rate_speed_time_left_and_memory_and_tensorboard_rate_and_rounds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=2e-5)
    output = {"loss": 1.5, "losses": [1.0, 2.0], "image": torch.zeros(4, 3, 2, 2)}
    trainer = Engine(lambda engine, batch: output)
    TrainingLog(str(tmp_path), optimizer, every=0.0).attach(trainer)
    with caplog.at_level(logging.INFO, "adaptsam.train"):
        trainer.run([0, 1, 2], max_epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "adaptsam.train"]
    assert len(lines) == 6
    told = r"epoch 2 of 2, iteration 5 of 6: loss 1\.5000, rate 2\.00e-05, \d+\.\d\d images/s, 0 min left, \d+\.\d GB"
    assert re.match(told, lines[4])
    curves = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in curves.Scalars("rate")] == pytest.approx([2e-5] * 6)
    assert curves.Scalars("loss_by_round/01")[0].value == 2.0


def test_a_minute_passes_between_two_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=2e-5)
    trainer = Engine(lambda engine, batch: {"loss": 1.0, "losses": [1.0], "image": [0]})
    TrainingLog(str(tmp_path), optimizer).attach(trainer)
    with caplog.at_level(logging.INFO, "adaptsam.train"):
        trainer.run([0, 1, 2], max_epochs=1)
    assert not [record for record in caplog.records if record.name == "adaptsam.train"]
    assert peak_memory() > 1e6
