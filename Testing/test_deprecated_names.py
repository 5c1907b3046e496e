"""Old module names work for one version, with a warning; the names of README and the tutorials work at once."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adaptsam.deprecated_names import RENAMED, RENAMED_CLASSES

TOP = Path(__file__).resolve().parents[1]
PAGES = [
    TOP / "README.md",
    *sorted((TOP / "docs" / "tutorials").glob("*.md")),
    *sorted((TOP / "docs" / "how-to").glob("*.md")),
]
FIRST_PAGES = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def in_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_old_name_leads_to_modules_that_exist() -> None:
    homes = {home for homes in RENAMED.values() for home in homes}
    assert all(importlib.util.find_spec(f"adaptsam.{home}") for home in homes)
    assert all(importlib.util.find_spec(f"adaptsam.{old}") for old in RENAMED)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_old_name_gives_the_same_objects_wherever_they_are_now() -> None:
    from adaptsam.data import Volume, read_volume
    from adaptsam.data.phantom import PhantomSettings
    from adaptsam.evaluate.metrics import dice
    from adaptsam.volumes import choose_window, register

    import adaptsam.image
    import adaptsam.metrics.volume_metrics
    import adaptsam.registration
    import adaptsam.synthetic.thorax_phantom

    assert (Volume, read_volume) == (adaptsam.image.Volume, adaptsam.read_volume)
    assert PhantomSettings is adaptsam.synthetic.thorax_phantom.PhantomSettings
    assert dice is adaptsam.metrics.volume_metrics.dice
    assert (choose_window, register) == (adaptsam.image.choose_window, adaptsam.registration.register)


def test_an_old_name_warns_at_the_line_that_imports_it() -> None:
    told = in_fresh_interpreter("import warnings; warnings.simplefilter('always')\nfrom adaptsam.data import Volume")
    assert "<string>:2: DeprecationWarning: adaptsam.data was renamed: import from adaptsam.io" in told


def test_propagate_is_a_function_and_its_old_module_a_module_that_can_be_called() -> None:
    code = (
        "import adaptsam; function = adaptsam.propagate; import adaptsam.propagate as module\n"
        "from types import ModuleType; assert isinstance(module, ModuleType) and module.propagate is function\n"
        "assert callable(module) and module.PropagationSettings is adaptsam.PropagationSettings"
    )
    in_fresh_interpreter(code)


def test_the_names_of_readme_and_the_tutorials_are_there_in_a_fresh_interpreter() -> None:
    names = sorted(
        set(re.findall(r"(?<![\w/])adaptsam(?:\.[a-z_]+)+\b(?!\.git)", FIRST_PAGES))
        - {"adaptsam.cli", "adaptsam.worker"}
    )
    assert {"adaptsam.propagate", "adaptsam.propagate_video", "adaptsam.autoprompt"} <= set(names)
    in_fresh_interpreter("import warnings; warnings.simplefilter('error'); import adaptsam; " + "; ".join(names))


def test_there_is_no_name_that_was_never_there() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        getattr(importlib.import_module("adaptsam"), "nothing_such")  # noqa: B009


@pytest.mark.parametrize(
    ("room", "old", "new"), [(r, *pair) for r, names in RENAMED_CLASSES.items() for pair in names.items()]
)
def test_a_renamed_class_is_found_under_its_old_name_with_a_warning(room: str, old: str, new: str) -> None:
    package = importlib.import_module(f"adaptsam.{room}")
    with pytest.warns(DeprecationWarning, match=f"use {new}"):
        assert getattr(package, old) is getattr(package, new)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_old_module_has_its_classes_under_the_old_names() -> None:
    from adaptsam.p2sam.settings import Settings

    from adaptsam.p2sam import P2SamSettings

    assert Settings is P2SamSettings
