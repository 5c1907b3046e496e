"""The benchmark itself: what it counts is what PyTorch counts, and it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adaptsam.sam import VIT_B, build_sam


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "benchmarks" / "encoder.py"
    spec = importlib.util.spec_from_file_location("encoder_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_arithmetic_of_the_encoder_is_counted_as_pytorch_counts_it(benchmark, config):
    encoder = build_sam(config).image_encoder
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, config.image_size, config.image_size))
    assert benchmark.encoder_flops(config)["total"] == counter.get_total_flops()


def test_vit_b_takes_972_gflop_for_an_image(benchmark):
    assert round(benchmark.encoder_flops(VIT_B)["total"] / 1e9) == 972


def test_the_benchmark_runs_and_finds_no_difference(benchmark):
    threads = torch.get_num_threads()
    figures = benchmark.run(repeats=1, threads=1, kind="small", requests=4, patients=0)
    assert figures["encoder float32: relative error"] < 1e-4
    assert figures["decoder relative error"] < 1e-4
    assert torch.get_num_threads() == threads
