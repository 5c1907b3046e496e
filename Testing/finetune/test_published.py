"""``published=true`` beside values that P²SAM's released code, timm and PyTorch gave; each point can be had alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam

from adaptsam.datasets import Case, DataSet, Sample, nsclc_radiomics
from adaptsam.datasets.membership import grouped, published_split, split_as
from adaptsam.errors import InputError
from adaptsam.finetune.interactive_training import Interaction, TrainableSam, _later, interactive_rounds
from adaptsam.finetune.mask_losses import sam_loss
from adaptsam.finetune.prompt_simulation import noisy_box
from adaptsam.finetune.published import RELEASED, TrainingPoints, decayed, training_points
from adaptsam.finetune.rate_schedule import ReleasedRate
from adaptsam.image.intensity import Window

SIZE = 64
RELEASED_INTERACTION = Interaction(quiet_rounds="each", prompt_per="batch", pad_points=True)


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    for row in range(count):
        masks[row, 10 + 5 * row : 40 + 5 * row, 12:44] = True
    noise = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 60
    return noise + 150 * masks[:, None], masks


def prompts_of(tiny: Sam, how: Interaction, epochs: int) -> list[list[list[np.ndarray]]]:
    """Kinds of tokens by epoch, round and image."""
    images, masks = batch()
    model = TrainableSam(tiny)
    with torch.no_grad():
        return [
            [
                [prompt.kinds for prompt in one.prompts]
                for one in interactive_rounds(model, images, masks, [(3, epoch, sample) for sample in range(4)], how)
            ]
            for epoch in range(epochs)
        ]


def test_one_setting_gives_all_points_and_each_can_be_had_otherwise() -> None:
    assert training_points() == TrainingPoints()
    assert training_points(published=True, kind="nsclc-radiomics") == RELEASED
    assert training_points(published=True, kind="kvasir-seg").rate_changes == "epoch"
    differing = {key for key, value in RELEASED.to_dict().items() if value != TrainingPoints().to_dict()[key]}
    assert differing == set(RELEASED.to_dict()) - {"rate_changes"}
    assert training_points(published=True, best_by="mean").best_by == "mean"
    assert training_points(published=True, scale_rate=False).rate(1e-4, 4) == 1e-4
    assert RELEASED.rate(1e-4, 4) == pytest.approx(1.5625e-6)
    with pytest.raises(InputError, match="best_by is mean or none, or null"):
        training_points(best_by="dice")
    with pytest.raises(InputError, match="pad_points is true, false, or null"):
        training_points(pad_points="yes")


def test_prompts_of_a_batch_are_of_one_kind_and_number_as_released(tiny: Sam) -> None:
    for rounds in prompts_of(tiny, RELEASED_INTERACTION, 6):
        for kinds in rounds:
            assert len({len(one) for one in kinds}) == 1
    first = {len(rounds[0][0]) for rounds in prompts_of(tiny, RELEASED_INTERACTION, 12)}
    assert first == {0, 2}


def test_quiet_rounds_are_drawn_anew_in_every_round_as_released(tiny: Sam) -> None:
    """The chance is one ninth in each of nine rounds: none, one or several of a batch are quiet; the last always is."""
    quiet = [
        [sum(len(one) == 0 for one in kinds) == 4 for kinds in rounds[1:]]
        for rounds in prompts_of(tiny, RELEASED_INTERACTION, 40)
    ]
    assert all(rounds[-1] for rounds in quiet)
    counts = [sum(rounds[:-1]) for rounds in quiet]
    assert min(counts) == 0
    assert max(counts) >= 2
    assert np.mean(counts) == pytest.approx(1.0, abs=0.5)


def test_lacking_error_points_are_not_a_point_as_released() -> None:
    mask, guess = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    mask[2, 3] = mask[5, 6] = True
    for pad, kinds in ((True, [1, 1, -1, -1, -1, -1]), (False, [1, 1, -1])):
        assert _later(np.random.default_rng(0), mask, guess, 5, pad).kinds.tolist() == kinds
        right = _later(np.random.default_rng(0), mask, mask, 3, pad).kinds.tolist()
        assert right == ([-1] * 4 if pad else [])
        assert len(_later(np.random.default_rng(0), mask, guess, 0, pad)) == 0


def test_no_mask_is_not_trained_as_released(tiny: Sam) -> None:
    images, masks = batch()
    weight = tiny.prompt_encoder.no_mask_embed.weight
    for detached in (False, True):
        tiny.zero_grad()
        model = TrainableSam(tiny, detach_no_mask=detached)
        next(interactive_rounds(model, images, masks, [(0, 0, n) for n in range(4)])).loss.mean().backward()
        assert (weight.grad is None) == detached


def test_the_noise_of_boxes_has_a_bounded_deviation_and_is_free() -> None:
    """add_noise_to_boxes: min(0.1 · side, 20) pixels as standard deviation, and a third of the noise beyond it."""
    mask = np.zeros((1024, 1024), bool)
    mask[100:901, 200:301] = True  # 800 high, 100 wide between corners
    rng = np.random.default_rng(0)
    noise = np.array([noisy_box(rng, mask).coordinates - [[200, 100], [300, 900]] for _ in range(2000)])
    assert noise[..., 0].std() == pytest.approx(10, rel=0.05)
    assert noise[..., 1].std() == pytest.approx(20, rel=0.05)
    assert (np.abs(noise[..., 1]) > 20).mean() == pytest.approx(0.317, abs=0.03)


def test_nothing_found_where_nothing_is_has_an_iou_of_one() -> None:
    empty, truth = torch.full((1, 1, 8, 8), -9.0), torch.zeros(1, 1, 8, 8)
    right, wrong = (sam_loss(empty, truth, torch.tensor([[iou]])).item() for iou in (1.0, 0.0))
    assert wrong - right == pytest.approx(1.0)


def rates(changes: str, epochs: int, per_epoch: int, warm_up: float) -> list[float]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = ReleasedRate(optimizer, epochs, per_epoch, warm_up, 1e-6, changes)
    given = []
    for _ in range(epochs * per_epoch):
        given.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return given


@pytest.mark.parametrize(("changes", "epochs", "warm_up"), [("batch", 36, 4 / 36), ("epoch", 100, 0.1)])
def test_the_rate_is_what_timm_gave_the_released_training(changes: str, epochs: int, warm_up: float) -> None:
    values = json.loads(Path(__file__).with_name("timm_rates.json").read_text(encoding="utf-8"))[changes]
    np.testing.assert_allclose(rates(changes, epochs, 5, warm_up), values, rtol=1e-6)


def test_biases_and_norms_are_not_decayed(tiny: Sam) -> None:
    whole, plain = decayed(tiny, 0.05)
    assert (whole["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in tiny.named_parameters()}
    assert all(names[id(p)].endswith(("bias", "weight", "gamma")) for p in plain["params"])
    assert any("norm" in names[id(p)] for p in plain["params"])
    assert not any("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in whole["params"])
    assert len(whole["params"]) + len(plain["params"]) == len(list(tiny.parameters()))


def test_intensities_can_be_cut_to_whole_numbers_as_released() -> None:
    values = np.array([[-2000.0, -910.0, -904.2, -903.9, 589.9, 590.0, 3000.0]])
    assert Window(-910.0, 590.0).gray(values).tolist() == [[0, 0, 1, 1, 255, 255, 255]]
    assert Window(-910.0, 590.0, truncated=True).gray(values).tolist() == [[0, 0, 0, 1, 254, 255, 255]]


class Nothing:
    def read(self) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError


def dataset(kind: str, names: list[str]) -> DataSet:
    return DataSet(
        kind, "folder", tuple(Case(name, (Sample(name, name, Nothing()),)) for name in names), unit="picture"
    )


def digest(numbers: list[int]) -> str:
    return hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()


def test_the_published_splits_are_the_released_lists() -> None:
    """By the hashes of the two lists in the released code."""
    names = [f"p{number:04d}" for number in range(1000)]
    parts = published_split(dataset("kvasir-seg", names[::-1]))
    assert [len(part) for part in parts.values()] == [800, 100, 100]
    order = [int(name[1:]) for part in parts.values() for name in part]
    assert digest(order) == "7f2b21560580e6b84416e6a04019dd2d39eb3ef7fd4b91be7f2e683cf919fa5e"
    patients = [name for name in nsclc_radiomics.PUBLISHED if name != "LUNG1-128"]
    parts = published_split(dataset("nsclc-radiomics", patients[:7]))
    assert [len(part) for part in parts.values()] == [337, 42, 42]
    order = [patients.index(name) for part in parts.values() for name in part]
    assert digest(order) == "7dc5bf0648b66e44c7c865bc8e0c348f662e155512213ba42671da93fee2f297"


def test_a_split_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 999 of Kvasir-SEG's 1000 pictures"):
        published_split(dataset("kvasir-seg", [f"p{number:04d}" for number in range(999)]))
    with pytest.raises(InputError, match="No split of folder was published"):
        split_as(dataset("folder", ["a"]), "published")
    file = tmp_path / "split.json"
    for text, sentence in (
        ("{", "is not JSON"),
        ("[]", "holds no names"),
        ('{"train": ["a"]}', "a list of names for each of train, validation, test"),
        ('{"train": ["a"], "validation": ["a"], "test": []}', "has a case twice"),
        ('{"train": ["x"], "validation": [], "test": []}', "names no case"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=sentence):
            split_as(dataset("folder", ["a", "b"]), str(file))
    with pytest.raises(InputError, match="cannot be read"):
        split_as(dataset("folder", ["a"]), str(tmp_path / "none.json"))


def test_a_split_is_read_from_a_file_and_leaves_out_what_it_does_not_name(tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text(json.dumps({"train": ["b"], "validation": ["a"], "test": ["d"]}))
    parts = split_as(dataset("folder", ["a", "b", "c", "d"]), str(file))
    assert {part: [one.name for one in samples] for part, samples in parts.items()} == {
        "train": ["b"],
        "validation": ["a"],
        "test": ["d"],
    }


def test_pictures_of_one_patient_stay_together_where_a_file_says_so(tmp_path: Path) -> None:
    file, names = tmp_path / "groups.json", [f"p{number}" for number in range(20)]
    file.write_text(json.dumps({name: f"patient {number % 4}" for number, name in enumerate(names)}))
    together = grouped(dataset("kvasir-seg", names), str(file))
    assert together.unit == "patient"
    part_of = {one.name: part for part, samples in together.split(0).items() for one in samples}
    assert all(part_of[f"p{number}"] == part_of[f"p{number % 4}"] for number in range(20))
    file.write_text('{"other": "A"}')
    with pytest.raises(InputError, match="names no case"):
        grouped(dataset("kvasir-seg", names), str(file))
