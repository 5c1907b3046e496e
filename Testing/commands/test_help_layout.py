"""The layout of help texts: words filled, commands broken as a shell reads them."""

from __future__ import annotations

import shlex

from adaptsam.commands.help_layout import broken_command, laid_out

COMMAND = "adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --target weekly_ct --output result"


def test_examples_that_fit_stay_as_they_are():
    block = "  adaptsam info ct       what is there\n  adaptsam info ct --json    for programs"
    assert laid_out(f"What.\n\n{block}", 80) == f"What.\n\n{block}"


def test_a_broken_command_is_the_same_to_a_shell():
    broken = broken_command(COMMAND, 40, "    ")
    assert max(len(line) for line in broken.splitlines()) <= 40
    assert shlex.split(broken.replace("\\\n", "")) == shlex.split(COMMAND)


def test_no_line_ends_between_an_option_and_its_value():
    for width in range(40, 100):
        for line in broken_command(COMMAND, width, "    ").splitlines():
            assert not line.removesuffix(" \\").split()[-1].startswith("--")


def test_remarks_of_a_narrow_terminal_stand_below_their_commands():
    block = "  adaptsam demo --output demo       begin here\n  adaptsam doctor\n            is it whole"
    assert laid_out(block, 30) == (
        "  adaptsam demo --output demo\n      begin here\n  adaptsam doctor\n      is it whole"
    )


def test_a_command_on_several_lines_is_broken_anew():
    block = "  adaptsam propagate --prior-image planning_ct \\\n                     --target weekly_ct --output result"
    assert laid_out(block, 44) == (
        "  adaptsam propagate \\\n      --prior-image planning_ct \\\n      --target weekly_ct --output result"
    )


def test_columns_of_words_become_lines():
    block = "  duts              DUTS-TR, DUTS-TE       salient objects"
    assert laid_out(block, 40) == "  duts: DUTS-TR, DUTS-TE; salient\n    objects"
