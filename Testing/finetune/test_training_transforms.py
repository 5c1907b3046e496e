"""Samples on their way into MONAI's engines: sizes, caches, augmentation, and damage in the middle of an epoch."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset
from monai.engines import SupervisedTrainer

from adaptsam.datasets import DataSet, Sample, check_samples, open_dataset
from adaptsam.errors import InputError
from adaptsam.finetune.interactive_training import Interaction, TrainableSam
from adaptsam.finetune.monai_engine import InteractiveUpdate
from adaptsam.finetune.training_transforms import (
    AUGMENTATIONS,
    Augmentation,
    AugmentSampled,
    Geometry,
    LoadSampled,
    recoloured,
    sample_error,
    sample_items,
    sample_transforms,
)
from adaptsam.sam import SamConfig, build_sam
from adaptsam.sam.preprocessing import prepare_image


@dataclass(frozen=True)
class Drawn:
    """A bright disc on a gradient, 48×64 pixels."""

    x: int = 40
    radius: float = 9.0
    broken: bool = False

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        if self.broken:
            raise InputError("b.png cannot be read as a picture: it is damaged; copy it again.")
        rows, columns = np.ogrid[:48, :64]
        mask = (rows - 24) ** 2 + (columns - self.x) ** 2 < self.radius**2
        gray = np.where(mask, 230, 20 + rows + columns).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2), mask


def samples(count: int = 6, broken: tuple[int, ...] = ()) -> list[Sample]:
    return [Sample(f"p{n}/slice-{n}", f"p{n}", Drawn(20 + 4 * n, broken=n in broken)) for n in range(count)]


@pytest.fixture
def config(base) -> SamConfig:
    return base.config


@pytest.mark.parametrize("scaling", ["statistics", "min-max"])
def test_an_item_is_what_the_model_would_make_of_the_image(config, scaling):
    config = replace(config, scaling=scaling)
    sam = build_sam(config)
    [item] = [sample_transforms(config)(item) for item in sample_items(samples(1))]
    image, mask = samples(1)[0].read()
    wanted, _ = prepare_image(sam, image)
    assert item["image"].shape == (3, 64, 64)
    torch.testing.assert_close(sam.preprocess(item["image"]), wanted)
    assert item["label"].shape == (1, 64, 64)
    assert (item["label"][0, :48].numpy() == mask).all()
    assert not item["label"][0, 48:].any()


def test_a_structure_smaller_than_a_pixel_keeps_one(config):
    image = np.zeros((512, 512, 3), np.uint8)
    mask = np.zeros((512, 512), bool)
    mask[100, 300] = True

    class Small:
        def read(self):
            return image, mask

    item = LoadSampled(64)({"source": Sample("a", "a", Small())})
    rows, columns = np.nonzero(item["label"][0].numpy())
    assert 1 <= len(rows) <= 4
    assert abs(rows.mean() - 12) < 1.5
    assert abs(columns.mean() - 37.5) < 1.5


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_is_drawn_stays_in_the_published_ranges_and_fills_them(name):
    ranges = AUGMENTATIONS[name]
    rng = np.random.default_rng(0)
    every = [Geometry.drawn(rng, ranges) for _ in range(3000)]
    drawn = [one for one in every if one.scale != (1.0, 1.0)]
    assert len(drawn) / len(every) == pytest.approx(ranges.affine, abs=0.03)
    for values, low, high in (
        ([one.rotation for one in drawn], -ranges.rotation, ranges.rotation),
        *(([one.shear[axis] for one in drawn], *ranges.shear) for axis in (0, 1)),
        *(([one.scale[axis] for one in drawn], *ranges.scale) for axis in (0, 1)),
        *(([one.shift[axis] for one in drawn], -ranges.shift, ranges.shift) for axis in (0, 1)),
    ):
        assert low <= min(values) <= low + 0.01 * (high - low) + 1e-9
        assert high - 0.01 * (high - low) - 1e-9 <= max(values) <= high
    assert abs(np.corrcoef([one.scale for one in drawn], rowvar=False)[0, 1]) < 0.1
    assert {one.flips for one in every} == {(a, b) for a in (False, True) for b in (False, True)}


def test_magnification_is_that_of_the_image():
    item = LoadSampled(64)(sample_items(samples(1))[0])
    larger = Geometry((False, False), scale=(1.5, 1.0)).apply(item["label"], "nearest")
    assert larger.sum() / item["label"].sum() == pytest.approx(1.5, rel=0.1)
    assert larger.any(1).sum() > item["label"].any(1).sum()
    assert larger.any(2).sum() == pytest.approx(item["label"].any(2).sum(), abs=1)


def test_a_turn_a_shift_and_a_shear_move_a_point_as_they_say():
    image = torch.zeros(1, 40, 80, dtype=torch.uint8)
    image[0, 18:22, 58:62] = 255  # 20 pixels to the right of the centre
    middles = {
        "turned": (Geometry((False, False), rotation=90.0), (40, 40)),
        "shifted": (Geometry((False, False), shift=(-0.25, 0.125)), (40, 25)),
        "sheared": (Geometry((False, False), shear=(0.0, 26.565)), (60, 30)),
    }
    for name, (geometry, (x, y)) in middles.items():
        rows, columns = np.nonzero(geometry.apply(image, "nearest")[0].numpy())
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=1.1), name


def test_brightness_is_added_on_ct_and_colour_comes_before_the_geometry_of_polyps():
    black = torch.zeros(3, 16, 16, dtype=torch.uint8)
    rng = np.random.default_rng(0)
    drawn = [int(recoloured(rng, AUGMENTATIONS["nsclc-radiomics"], black)[0, 0, 0]) for _ in range(300)]
    assert 45 <= max(drawn) <= 51
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.5, abs=0.1)
    assert AUGMENTATIONS["kvasir-seg"].recoloured_first


def test_the_label_goes_where_the_structure_goes():
    ranges = Augmentation(rotation=180.0, scale=(0.7, 1.3), shear=(-22.0, 22.0), shift=0.1)
    augment = AugmentSampled(ranges, seed=4)
    load = LoadSampled(64)
    for item in sample_items(samples(6)):
        moved = augment(load(item))
        bright, label = moved["image"][0].numpy() > 180, moved["label"][0].numpy() > 0
        assert (bright & label).sum() / (bright | label).sum() > 0.85
        assert (moved["label"] != load(item)["label"]).any()


def test_a_geometry_that_would_lose_the_structure_is_not_taken():
    augment = AugmentSampled(Augmentation(shift=5.0), seed=0)
    load = LoadSampled(64)
    for epoch in range(20):
        augment.set_epoch(epoch)
        assert augment(load(sample_items(samples(1))[0]))["label"].any()


def pictures_of(loader: DataLoader) -> dict[str, torch.Tensor]:
    return {name: image for batch in loader for name, image in zip(batch["name"], batch["image"], strict=True)}


def test_neither_order_nor_batches_nor_processes_change_what_is_drawn(config):
    transforms = sample_transforms(config, "kvasir-seg", seed=5)
    items = sample_items(samples(6))
    alone = pictures_of(DataLoader(Dataset(items, transforms), batch_size=1))
    again = pictures_of(DataLoader(Dataset(items[::-1], transforms), batch_size=4))
    workers = DataLoader(Dataset(items, transforms), batch_size=2, num_workers=2, persistent_workers=True)
    in_workers = pictures_of(workers)
    for name, image in alone.items():
        assert torch.equal(image, again[name])
        assert torch.equal(image, in_workers[name])
    transforms.transforms[1].set_epoch(2)
    later, later_in_workers = pictures_of(DataLoader(Dataset(items, transforms))), pictures_of(workers)
    for name, image in alone.items():
        assert not torch.equal(image, later[name])
        assert torch.equal(later[name], later_in_workers[name])


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_caches_keep_what_was_read_and_not_what_was_drawn(config, kvasir_folder, copy_of, tmp_path, kind):
    root = copy_of(kvasir_folder)
    items = sample_items(open_dataset(root).samples)
    transforms = sample_transforms(config, "kvasir-seg")
    plain = Dataset(items, transforms)[0]["image"]
    if kind == "memory":
        cached = CacheDataset(items, transforms, progress=False, num_workers=1)
    else:
        cached = PersistentDataset(items, transforms, cache_dir=tmp_path / "cache")
        assert all(cached[n]["label"].any() for n in range(len(items)))
    for path in (root / "images").iterdir():
        path.unlink()
    assert torch.equal(torch.as_tensor(cached[0]["image"]), plain)
    transforms.transforms[1].set_epoch(7)
    assert not torch.equal(torch.as_tensor(cached[0]["image"]), plain)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_in_an_epoch_stops_it_by_name(config, workers):
    data = Dataset(sample_items(samples(4, broken=(2,))), sample_transforms(config, "kvasir-seg"))
    with pytest.raises(RuntimeError) as stopped:
        pictures_of(DataLoader(data, batch_size=2, num_workers=workers))
    assert str(sample_error(stopped.value)) == (
        "p2/slice-2: b.png cannot be read as a picture: it is damaged; copy it again."
    )
    assert sample_error(RuntimeError("other")) is None


def test_a_damaged_file_can_be_skipped_and_is_told_once(config, caplog):
    everyone = samples(4, broken=(2,))
    transforms = sample_transforms(config, on_error="skip", stand_ins=everyone)
    loader = DataLoader(Dataset(sample_items(everyone), transforms), batch_size=2)
    with caplog.at_level(logging.WARNING):
        batches = [batch for _ in range(2) for batch in loader]
    assert [len(batch["image"]) for batch in batches] == [2, 2, 2, 2]
    names = [name for batch in batches for name in batch["name"]]
    assert "p2/slice-2" not in names
    [told] = [record.getMessage() for record in caplog.records if "p2/slice-2" in record.getMessage()]
    assert f"and {names[2]} takes its place" in told
    assert batches[1]["sample"][0] == next(one.number for one in everyone if one.name == names[2])


def test_nothing_left_to_read_and_wrong_choices_are_said():
    everyone = samples(2, broken=(0, 1))
    load, [first, _] = LoadSampled(64, "skip", everyone), sample_items(everyone)
    with pytest.raises(InputError, match="None of the samples can be read"):
        load(first)
    with pytest.raises(InputError, match="stop or skip"):
        LoadSampled(64, "ignore")
    with pytest.raises(InputError, match="may take their place"):
        LoadSampled(64, "skip")
    with pytest.raises(InputError, match="There is no augmentation 'much'"):
        AugmentSampled("much")


def test_a_trainer_learns_from_a_downloaded_folder_and_tells_the_epoch(tiny, config, nsclc_folder):
    data: DataSet = check_samples(open_dataset(nsclc_folder))
    transforms = sample_transforms(config, "nsclc-radiomics")
    augment = transforms.transforms[1]
    epochs = []
    network = TrainableSam(tiny)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=DataLoader(Dataset(sample_items(data.samples[:2]), transforms), batch_size=2),
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), 1e-3),
        loss_function=torch.nn.Identity(),
        iteration_update=InteractiveUpdate(Interaction(rounds=2)),
        train_handlers=[augment],
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: epochs.append(int(augment._epoch)))
    trainer.run()
    assert epochs == [1, 2]
    assert np.isfinite(trainer.state.output["loss"])
