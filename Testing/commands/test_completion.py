"""Completion: the shell itself completes commands and options of the script."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("shtab")

from adaptsam import cli
from adaptsam.commands.completion import SHELLS, script


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [(["adaptsam", "prop"], "propagate"), (["adaptsam", "propagate", "--prior-im"], "--prior-image")],
)
def test_bash_completes_commands_and_options(words, expected, tmp_path):
    file = tmp_path / "completion.bash"
    file.write_text(script("bash"), encoding="utf-8")
    typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
    asked = f'source {file}; {typed}; _shtab_adaptsam; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert expected in done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_names_the_commands(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    assert "propagate" in capsys.readouterr().out
