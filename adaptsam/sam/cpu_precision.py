"""Precision that a processor is good at: one layer of the encoder, timed in float32 and in bfloat16.

Processors with tiles (AMX) or AVX512-BF16 multiply bfloat16 two to six times as fast as float32, others several times
slower, and PyTorch computes in bfloat16 on all of them. The answer of the first probe is kept: an embedding's key holds
the precision, so that two runs on one machine must not differ in it.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from platformdirs import user_cache_path

from adaptsam.storage.atomic_files import replacing

#: Channels of ViT-B's encoder. Narrower layers spend their time on what is not a product, and gain nothing.
FEWEST_CHANNELS = 768
_POSITIONS, _REPEATS = 256, 5
# Attention, norms and conversions gain less than products do; with less than this nothing is left of the gain.
_LEAST_GAIN = 1.4


@lru_cache(maxsize=1)
def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 clearly faster than float32; timed once on a machine, about 20 ms."""
    path, key = _kept_answers(), _this_processor()
    answers: dict[str, float] = {}
    with suppress(OSError, ValueError):
        answers = dict(json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(answers.get(key), float):
        answers[key] = round(_seconds(torch.float32) / _seconds(torch.bfloat16), 2)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(answers), encoding="utf-8")
    return answers[key] >= _LEAST_GAIN


def _seconds(dtype: torch.dtype) -> float:
    """The shortest of some times of a layer of ViT-B's, in seconds."""
    layer = torch.nn.Linear(FEWEST_CHANNELS, 4 * FEWEST_CHANNELS, dtype=dtype)
    x = torch.ones(_POSITIONS, FEWEST_CHANNELS, dtype=dtype)
    times = []
    with torch.inference_mode():
        layer(x)
        for _ in range(_REPEATS):
            begin = time.perf_counter()
            layer(x)
            times.append(time.perf_counter() - begin)
    return min(times)


def _kept_answers() -> Path:
    """The file of ratios of speed, by processor."""
    return user_cache_path("adaptsam", appauthor=False) / "bfloat16_speed.json"


def _this_processor() -> str:
    narrowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return " ".join((platform.node(), torch.backends.cpu.get_cpu_capability(), torch.__version__, narrowed))
