"""AlignSAM and its ablations: an agent learns from the protocol's training images where to prompt, and is then used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptsam.alignsam import Agent, AlignSamSettings, Package, Target, load_agent, prompt, save_agent
from adaptsam.alignsam.attention_maps import Attention
from adaptsam.errors import InputError
from adaptsam.evaluation.methods.evaluated_method import NotApplicable, Pair, Workbench, fingerprint, in_batches
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod


class AlignSam(PictureMethod):
    """One agent, trained once and kept in the evaluation's folder.

    Args:
        name: of the row.
        title: in tables.
        alignsam: the settings; None for the paper's.
        guide: the text prompt, and the CLIP that looks for it: what the explicit branch depends on, too.
    """

    trained = True

    def __init__(
        self,
        name: str,
        title: str,
        alignsam: AlignSamSettings | None = None,
        guide: tuple[str, str | None] = ("", None),
    ) -> None:
        self.name, self.title, self.alignsam, self._guide = name, title, alignsam or AlignSamSettings(), guide
        self._agent: Agent | None = None

    @property
    def settings(self) -> object:
        settings = self.alignsam.to_dict()
        return {**settings, "guide": self._guide} if self.alignsam.branch == "explicit" else settings

    def prepare(self, bench: Workbench) -> None:
        if not bench.training:
            raise NotApplicable(f"{self.title} needs training images, which this protocol has none of.")
        attention = self._attention(bench)
        path = None if bench.folder is None else bench.folder / f"{self.name}-{fingerprint(self)}.agent.safetensors"
        if path is not None and path.exists():
            self._agent = load_agent(path, bench.model).agent
            return
        from adaptsam.alignsam import TrainingImage, train  # MONAI: seconds

        images = [TrainingImage(*sample.read()) for sample in bench.training]
        agent = train(bench.store, images, self.alignsam, attention=attention).agent
        if path is not None:
            explicit = self.alignsam.branch == "explicit"
            target, text = Target(bench.text or "target"), bench.text if explicit else ""
            save_agent(
                path, Package(agent, target, bench.model.kind, bench.model.sha256, text=text, clip=bench.clip_name)
            )
        self._agent = agent

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        if self._agent is None:
            raise InputError(f"{self.title} was not prepared.")
        masks: list[np.ndarray] = []
        for batch in in_batches(pairs):
            images = [pair.image for pair in batch]
            found = prompt(bench.store, self._agent, images, attention=self._attention(bench), keep_steps=False)
            masks += [one.mask for one in found]
        return masks

    def _attention(self, bench: Workbench) -> Attention | None:
        if self.alignsam.branch == "implicit":
            return None
        if bench.attention is None or not bench.text:
            raise NotApplicable(
                f"{self.title} looks at a text prompt: give its CLIP with --clip, and the text with --text where the "
                "protocol has none; alignsam-implicit-branch needs neither."
            )
        return bench.attention
