"""What is hidden of other libraries' messages, and that it is no more."""

from __future__ import annotations

import logging
from enum import Enum

import pytest

import adaptsam

SAID = "%s is an Enum subclass and is now natively supported by torch.compile as an opaque value type."


def test_of_pytorchs_messages_only_those_on_torchaos_enums_are_hidden(caplog: pytest.LogCaptureFixture) -> None:
    assert adaptsam.__version__
    theirs, other = Enum("KernelPreference", "A", module="torchao.common"), Enum("Kernel", "A", module="mine")
    log = logging.getLogger("torch.utils._pytree")
    log.addHandler(caplog.handler)
    try:
        for said, about in ((SAID, theirs), (SAID, other), ("%s is already registered", theirs)):
            log.warning(said, about)
        log.warning("nothing more")
    finally:
        log.removeHandler(caplog.handler)
    told = list(dict.fromkeys(record.getMessage() for record in caplog.records))
    assert told == [SAID % other, f"{theirs} is already registered", "nothing more"]
