"""An agent of random weights, and a volume with a blob in a body, for the tests of autoprompt."""

from __future__ import annotations

import numpy as np
import torch

from adaptsam.alignsam import Agent, AlignSamSettings, EnvironmentSettings, Package, Shown, Target
from adaptsam.image.volume import DicomSource, Geometry, Volume
from adaptsam.sam import SamModel

GRID = Geometry((10, 64, 64), (4.0, 4.0, 6.0), (10.0, -20.0, 300.0))


def make_agent(model: SamModel, name: str = "blob", seed: int = 0, branch: str = "implicit", **shown) -> Package:
    settings = AlignSamSettings(environment=EnvironmentSettings(canvas=64, patch=16, steps=2), branch=branch)
    agent = Agent(settings, model.embed_dim, seed=seed).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(agent.actor.head.weight)
    view = {"window": (-160.0, 240.0), "view": "body", "modality": "CT", **shown}
    text = "a blob" if branch == "explicit" else ""
    code = ("4147007", "SCT", "Mass")
    return Package(agent, Target(name, code), model.kind, model.sha256, Shown(**view), text, least_evidence=0.0)


def scene(seed: int = 0, modality: str = "CT") -> Volume:
    k, j, i = np.indices(GRID.shape)
    array = np.full(GRID.shape, -1000.0)
    array[((i - 32) / 26) ** 2 + ((j - 32) / 22) ** 2 <= 1] = 20
    array[((i - 40) / 9) ** 2 + ((j - 30) / 10) ** 2 + ((k - 5) / 4) ** 2 <= 1] = 250
    noise = np.random.default_rng(seed).normal(0, 10, GRID.shape)
    return Volume((array + noise).astype(np.int16), GRID, modality, DicomSource(patient_id="one"))
