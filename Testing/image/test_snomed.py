from __future__ import annotations

import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from adaptsam.image import snomed

NAMES = [name for name, one in vars(snomed).items() if isinstance(one, Code)]


@pytest.mark.skipif(pydicom.__version__ < "3", reason="pydicom 2 finds some of these names twice")
@pytest.mark.parametrize("name", NAMES)
def test_a_code_is_the_one_of_dicom(name: str) -> None:
    known = getattr(codes.SCT, name.title().replace("_", ""))
    written = getattr(snomed, name)
    assert (written.value, written.scheme_designator, written.meaning) == (
        known.value,
        known.scheme_designator,
        known.meaning,
    )
