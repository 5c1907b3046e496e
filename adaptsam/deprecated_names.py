"""Deprecated names of modules: they work in this version, with a DeprecationWarning that says the new one."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Old module → the modules that have its names now, below ``adaptsam``.
RENAMED: dict[str, tuple[str, ...]] = {
    "agents": ("autoprompting",),
    "agents.prompting": ("autoprompting.agent_batches",),
    "agents.settings": ("autoprompting.autoprompt_settings",),
    "agents.text_maps": ("autoprompting.text_maps",),
    "agents.training": ("autoprompting.agent_training",),
    "alignsam.package": ("alignsam.agent_file",),
    "alignsam.settings": ("alignsam.alignsam_settings",),
    "alignsam.shelf": ("alignsam.agent_folders",),
    "autoprompt": ("autoprompting.volume_autoprompting",),
    "autoprompt_video": ("autoprompting.video_autoprompting",),
    "correction": ("propagation.slice_correction",),
    "data": ("io", "image"),
    "data.datasets": ("datasets",),
    "data.followup": ("synthetic.digital_followup",),
    "data.frames": ("io.video.frames",),
    "data.phantom": ("synthetic.thorax_phantom",),
    "data.phantom.endoscopy": ("synthetic.endoscopy.endoscopy_video",),
    "data.volume": ("image.volume",),
    "evaluate": ("evaluation",),
    "evaluate.methods": ("evaluation.methods",),
    "evaluate.metrics": ("metrics",),
    "finetune.direct": ("finetune.direct_transfer",),
    "finetune.engine": ("finetune.monai_engine",),
    "finetune.interactive": ("finetune.interactive_training",),
    "finetune.order": ("finetune.epoch_order",),
    "finetune.processes": ("finetune.distributed",),
    "finetune.recipe_data": ("finetune.recipe_datasets",),
    "finetune.samples": ("finetune.training_transforms",),
    "finetune.training_files": ("finetune.training_state",),
    "frame_correction": ("propagation.frame_correction",),
    "p2sam.settings": ("p2sam.p2sam_settings",),
    "p2sam_slices": ("propagation.p2sam_slice_method",),
    "propagate": ("propagation.volume_propagation",),
    "propagate_video": ("propagation.video_propagation",),
    "sam.kept_folder": ("storage.disk_cache",),
    "volumes": ("slicewise", "registration", "image"),
    "volumes.region": ("image.region_of_interest",),
    "volumes.windows": ("image.windowing",),
}


#: By room, old names of classes → the new ones.
RENAMED_CLASSES: dict[str, dict[str, str]] = {
    "alignsam": {"Case": "AgentImage", "Settings": "AlignSamSettings"},
    "p2sam": {"Settings": "P2SamSettings"},
}


class RenamedModule(ModuleType):
    """A module under its old name: its attributes are those of its new homes.

    ``propagate``, ``autoprompt`` and ``propagate_video`` are functions of the package, too, so a module of such a name
    can be called.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for home in RENAMED[self.__name__.removeprefix("adaptsam.")]:
            now = RENAMED_CLASSES.get(home.partition(".")[0], {}).get(name, name)
            try:
                return getattr(importlib.import_module(f"adaptsam.{home}"), now)
            except AttributeError:
                continue
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **options)


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return RenamedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class RenamedFinder(MetaPathFinder):
    """An import hook for old names; it comes after Python's own finders, which find nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, name = fullname.partition(".")
        if top != "adaptsam" or name not in RENAMED:
            return None
        homes = " or ".join(f"adaptsam.{home}" for home in RENAMED[name])
        message = f"{fullname} was renamed: import from {homes}. The old name goes with the next version."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return ModuleSpec(fullname, _Loader(), is_package=True)


def install() -> None:
    """Make old names importable; calling it again changes nothing."""
    if not any(isinstance(finder, RenamedFinder) for finder in sys.meta_path):
        sys.meta_path.append(RenamedFinder())
