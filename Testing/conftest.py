"""Data sets in their published layouts, made from the phantoms once for all tests; what damages them copies first."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings
from adaptsam.synthetic.thorax_phantom import PhantomSettings, Scanner

pytest_plugins = ["scan_fixtures", "thorax_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test leaves embeddings among the user's, or finds some there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTSAM_CACHE", str(tmp_path_factory.mktemp("embeddings")))
        yield


@pytest.fixture(scope="session")
def training_folders() -> ModuleType:
    """The functions that write them."""
    path = Path(__file__).parent / "tools" / "experiments" / "training_folders.py"
    spec = importlib.util.spec_from_file_location("training_folders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def nsclc_folder(training_folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NSCLC-Radiomics: three patients of 8 slices of 56×56 pixels, with SEG and RTSTRUCT. To be read only."""
    root = tmp_path_factory.mktemp("nsclc")
    settings = PhantomSettings(scanner=Scanner(length=60.0, kernel="sharp"))
    grid = training_folders.Grid((45, 56, 56), (7.0, 7.0, 8.0))
    training_folders.write_nsclc_radiomics(root, 3, seed=1, grid=grid, settings=settings)
    return root / "NSCLC-Radiomics"


@pytest.fixture(scope="session")
def four_d_lung_folder(training_folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4D-Lung: a patient of two visits with two phases, and the one that is left out. To be read only."""
    root = tmp_path_factory.mktemp("4d-lung")
    grid = training_folders.Grid((20, 40, 40), (10.0, 10.0, 14.0))
    training_folders.write_four_d_lung(root, ("100_HM10395", "118_HM10395"), seed=3, grid=grid)
    return root / "4D-Lung"


@pytest.fixture(scope="session")
def kvasir_folder(training_folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kvasir-SEG: four pictures of 48×64 pixels. To be read only."""
    settings = EndoscopySettings(size=(48, 64))
    return training_folders.write_kvasir_seg(tmp_path_factory.mktemp("kvasir"), 4, settings=settings)


@pytest.fixture(scope="session")
def cvc_folder(training_folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CVC-ClinicDB: its frames 23 to 28, of which the first three end one sequence. To be read only."""
    settings = EndoscopySettings(size=(48, 64))
    return training_folders.write_cvc_clinicdb(tmp_path_factory.mktemp("cvc"), range(23, 29), settings=settings)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a folder, to be changed."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / folder.name))
