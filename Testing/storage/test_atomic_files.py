"""Files that take another one's place: whole or not at all, and for whom the user's umask says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from adaptsam.storage.atomic_files import replacing


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("private", "mode"), [(False, 0o640), (True, 0o600)])
def test_others_may_read_a_file_as_the_umask_says_whichever_library_wrote_it(
    tmp_path: Path, private: bool, mode: int
) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "weights", private=private) as temporary:
            save_file({"a": np.zeros(3, np.float32)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "weights").stat().st_mode) == mode


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    target.write_text("old")

    def half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
