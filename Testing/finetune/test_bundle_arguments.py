"""What monai.bundle run is given, refused in one sentence before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptsam.errors import InputError
from adaptsam.finetune.bundle_arguments import arguments, check_arguments, check_bundle_arguments
from adaptsam.finetune.recipe_folders import recipe_files

FILES = str([str(path) for path in recipe_files("kvasir_lora")])


def given(*words: str) -> list[str]:
    return ["run", "--config_file", FILES, *words]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epoch", "3"], "no setting 'epoch'.*Did you mean epochs"),
        (["--amp", "true"], "amp is true or false, not 'true'"),
        (["--epochs", "many"], "epochs is a whole number"),
        (["--rate=-1"], "rate is too small"),
        (["--trian#trainer#amp", "True"], "no part 'trian'. Did you mean train"),
    ],
)
def test_misspelt_names_and_wrong_types_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_arguments(arguments(given(*words)[1:]))


def test_what_monai_and_the_recipe_know_is_let_through() -> None:
    words = [
        "--epochs",
        "3",
        "--amp",
        "True",
        "--dataset_dir=x",
        "--meta_file",
        "m.json",
        "--train#trainer#amp",
        "True",
    ]
    check_arguments(arguments(given(*words)[1:]))


def test_the_command_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    program = str(Path("monai") / "bundle" / "__main__.py")
    with pytest.raises(SystemExit) as ended:
        check_bundle_arguments([program, *given("--epoch", "3")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("adaptsam: The recipe has no setting 'epoch'")
    assert told.count("\n") == 1
    check_bundle_arguments(["adaptsam", "run", "--epoch", "3"])
