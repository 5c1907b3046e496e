"""The readers that are tried, each as a command or a public function uses it."""

from __future__ import annotations

import json
import os
import shutil
from argparse import Namespace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from blob_agent import make_agent
from faults import hostile_dicom, hostile_images, hostile_models, hostile_pictures
from faults.sandbox import Reader
from thorax import thorax
from tiny_sam import TINY, tiny_model

from adaptsam.alignsam import load_agent, save_agent
from adaptsam.alignsam.agent_checkpoint import read_training, write_training
from adaptsam.cli import build_parser
from adaptsam.finetune.adapter_file import load_adapter, save_adapter
from adaptsam.finetune.recipe_folders import recipe_files
from adaptsam.finetune.recipes import read_recipe, recipe_settings
from adaptsam.finetune.tuning import Tuning
from adaptsam.image.volume import Geometry, Volume
from adaptsam.io import read_frames, read_masks_like, read_picture
from adaptsam.io.mask_images import read_mask_picture
from adaptsam.registration import DeformableSettings, RegistrationSettings
from adaptsam.registration.registration_cache import registered
from adaptsam.sam import EmbeddingStore, build_sam, load_sam, save_checkpoint
from adaptsam.slicewise import VolumeSettings
from adaptsam.storage.disk_cache import KeptFolder

# Readers run in forked processes, and threads that OpenMP has started before a fork are not there after it.
torch.set_num_threads(1)

# Enough to be told from nothing.
_HASTY = VolumeSettings(
    registration=RegistrationSettings(iterations=2), deformable=DeformableSettings(10.0, shrink=(1,), iterations=(2,))
)
_NAME = "p2sam_endoscopy_lora_base"  # of weights whose hash nobody published, so that our own record is read


def _command(*words: str | Path) -> None:
    args: Namespace = build_parser().parse_args([str(word) for word in words])
    args.run(args)


def _info(case: Path, seeds: Path) -> None:
    """What lies in the case, whatever its suffix; labels with the image they were drawn on."""
    path = next(path for path in sorted(case.iterdir()) if path.name.startswith("case"))
    if path.name.endswith(".seg.nrrd"):
        _command("info", seeds / "image.nrrd", "--structures", path)
    else:
        _command("info", path)


def _structures(name: str, case: Path, seeds: Path) -> None:
    _command("info", seeds / "ct", "--structures", case / name)


def _video(case: Path, seeds: Path) -> None:
    path = next(path for path in case.iterdir() if path.name.startswith("case"))
    for frame in read_frames(path):
        assert frame.dtype == np.uint8


def _picture(case: Path, seeds: Path) -> None:
    """As a frame, and as a mask where it can be one; the first refusal is told."""
    path = next(case.iterdir())
    read_picture(path)
    read_masks_like(path, ["label-1", "polyp"])
    read_mask_picture(path)


def _write_pickles(folder: Path) -> None:
    torch.manual_seed(0)
    sam = build_sam(TINY)
    torch.save(sam.state_dict(), folder / "tiny.pth")
    torch.save({"model": sam.state_dict(), "epoch": 3}, folder / "nested.pth")
    torch.save(sam.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)


def _pickle_case(seeds: Path, rng: Random, case: Path) -> str:
    return hostile_models.make_pickle_case(rng.choice(sorted(seeds.iterdir())), case / "case.pth", rng)


def _pickle(case: Path, seeds: Path) -> None:
    load_sam(case / "case.pth", "cpu")


def _write_safetensors(folder: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", build_sam(TINY), TINY)


def _safetensors_case(name: str, seeds: Path, rng: Random, case: Path) -> str:
    return hostile_models.make_safetensors_case(seeds / name, case / "case.safetensors", rng)


def _safetensors(case: Path, seeds: Path) -> None:
    load_sam(case / "case.safetensors", "cpu")


@cache
def _base() -> Any:
    return tiny_model()


def _write_adapter(folder: Path) -> None:
    import copy

    base = _base()
    for method in ("lora", "decoder"):
        sam = copy.deepcopy(base.sam)
        tuning = Tuning(method)
        tuning.apply(sam)
        save_adapter(folder / f"{method}.safetensors", sam, tuning, base.sha256, {"epoch": 3})


def _adapter_case(seeds: Path, rng: Random, case: Path) -> str:
    return _safetensors_case(rng.choice(("lora", "decoder")) + ".safetensors", seeds, rng, case)


def _adapter(case: Path, seeds: Path) -> None:
    load_adapter(case / "case.safetensors", _base())


def _write_agent(folder: Path) -> None:
    save_agent(folder / "blob.agent.safetensors", make_agent(_base()))


def _agent(case: Path, seeds: Path) -> None:
    _command("agents", "inspect", case / "case.safetensors")
    load_agent(case / "case.safetensors", _base())


def _write_state(folder: Path) -> None:
    write_training(
        folder / "state.pt", {"settings": {"a": 1}, "agent": {"w": torch.zeros(3, 4)}, "history": [1.0, 2.0]}
    )


def _state_case(seeds: Path, rng: Random, case: Path) -> str:
    return hostile_models.make_pickle_case(seeds / "state.pt", case / "state.pt", rng)


def _state(case: Path, seeds: Path) -> None:
    read_training(case / "state.pt")


_IMAGE = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8)


def _write_embedding(folder: Path) -> None:
    EmbeddingStore(_base(), folder=folder / "store").get([_IMAGE])


def _kept_case(seeds: Path, rng: Random, case: Path) -> str:
    (case / "store").mkdir()
    [good] = (seeds / "store").rglob("*.safetensors")
    path = case / "store" / good.relative_to(seeds / "store")
    path.parent.mkdir(parents=True, exist_ok=True)
    return hostile_models.make_safetensors_case(good, path, rng)


def _embedding(case: Path, seeds: Path) -> None:
    """Whatever lies in the store, what comes out of it is right."""
    [embedding] = EmbeddingStore(_base(), folder=case / "store").get([_IMAGE])
    [expected] = _base().embed([_IMAGE])
    assert embedding.features.shape == expected.features.shape
    assert bool(embedding.features.isfinite().all())
    assert (embedding.input_size, embedding.original_size) == (expected.input_size, expected.original_size)


def _thorax_pair() -> tuple[Volume, Volume]:
    grid = Geometry((8, 30, 36), (11.0, 11.0, 15.0), (-190.0, -158.0, -57.5))
    return thorax(geometry=grid).volume, thorax((10, 0, 0), seed=1, geometry=grid).volume


def _write_registration(folder: Path) -> None:
    made = registered(*_thorax_pair(), _HASTY, KeptFolder(folder / "store"))
    np.save(folder / "expected.npy", made.to_prior(np.eye(3)))


def _registration(case: Path, seeds: Path) -> None:
    """Whatever lies in the store, what comes out of it is right."""
    found = registered(*_thorax_pair(), _HASTY, KeptFolder(case / "store"))
    assert np.array_equal(found.to_prior(np.eye(3)), np.load(seeds / "expected.npy"))


def _write_recipe(folder: Path) -> None:
    shutil.copy(recipe_files("kvasir_lora")[1], folder / "train.json")


def _recipe(case: Path, seeds: Path) -> None:
    recipe_settings(read_recipe(str(case), {"epochs": 3}))


def _write_weights(folder: Path) -> None:
    from adaptsam.storage.file_hashes import digests

    _write_pickles(folder)
    for name in ("nested.pth", "old.pth"):
        (folder / name).unlink()
    record = {"name": "x", "source": "elsewhere", **digests(folder / "tiny.pth", ["sha256"])}
    (folder / "record.json").write_text(json.dumps(record))


def _weights(case: Path, seeds: Path) -> None:
    from adaptsam.sam.weights_catalogue import entry

    os.environ["ADAPTSAM_WEIGHTS"] = str(case)
    try:
        known = entry(_NAME)
        (case / "p2sam-lora.pth").rename(known.path)
        (case / "record.json").rename(known.path.with_name(f"{known.path.name}.json"))
        _command("weights", "verify", known.name)
        _command("weights", "list")
    finally:
        del os.environ["ADAPTSAM_WEIGHTS"]


_write_dicom, _images = hostile_dicom.write_dicom_seeds, hostile_images.write_image_seeds
READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "dicom", _write_dicom, hostile_dicom.make_series_case, lambda case, seeds: _command("info", case / "ct")
        ),
        Reader(
            "rtstruct",
            _write_dicom,
            partial(hostile_dicom.make_structures_case, "rtstruct.dcm"),
            partial(_structures, "rtstruct.dcm"),
        ),
        Reader(
            "seg",
            _write_dicom,
            partial(hostile_dicom.make_structures_case, "labels.seg.dcm"),
            partial(_structures, "labels.seg.dcm"),
        ),
        Reader("nrrd", _images, hostile_images.make_nrrd_case, _info),
        Reader("nifti", _images, hostile_images.make_nifti_case, _info),
        Reader("metaimage", _images, hostile_images.make_metaimage_case, _info),
        Reader("video", hostile_pictures.write_video_seeds, hostile_pictures.make_video_case, _video),
        Reader("picture", hostile_pictures.write_picture_seeds, hostile_pictures.make_picture_case, _picture),
        Reader("checkpoint", _write_pickles, _pickle_case, _pickle),
        Reader("safetensors", _write_safetensors, partial(_safetensors_case, "tiny.safetensors"), _safetensors),
        Reader("adapter", _write_adapter, _adapter_case, _adapter),
        Reader("agent", _write_agent, partial(_safetensors_case, "blob.agent.safetensors"), _agent),
        Reader("training", _write_state, _state_case, _state),
        Reader("embedding", _write_embedding, _kept_case, _embedding),
        Reader("registration", _write_registration, _kept_case, _registration),
        Reader("recipe", _write_recipe, hostile_models.make_recipe_case, _recipe),
        Reader("weights", _write_weights, hostile_models.make_weights_case, _weights),
    )
}
