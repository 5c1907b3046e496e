"""Base of the modules' logics: their runs, their parameters, and the tests that Reload and Test runs."""

from __future__ import annotations

import unittest
from typing import Any

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest

from AdaptSAMLib.job import Job

#: Slicer's modules whose nodes and logics are used; they are loaded first.
DEPENDENCIES = ("Markups", "Plots", "Segmentations", "Sequences", "SubjectHierarchy", "Tables", "Terminologies")

#: Where the project lies; OWNER is to be filled in when it is published.
HOMEPAGE = "https://github.com/OWNER/SlicerAdaptSAM"


def link(page: str) -> str:
    """A link to a page of docs/slicer, for help texts."""
    return f' <a href="{HOMEPAGE}/blob/main/docs/slicer/{page}.md">{_("Documentation")}</a>.'


class BaseLogic(ScriptedLoadableModuleLogic):
    """Base of the modules' logics, which say what a run is."""

    #: A class made by parameterNodeWrapper.
    parameters: type

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.runs: list = []

    def getParameterNode(self) -> Any:
        return self.parameters(super().getParameterNode())

    def start(self, run: Job, wait: bool) -> Job:
        """Start a run and return it, at once or when it has ended."""
        self.runs = [one for one in self.runs if one.ended is None] + [run]
        run.start()
        return run.wait() if wait else run

    def abandon(self) -> None:
        """The scene is being closed: stop what runs, and touch no node any more."""
        for run in self.runs:
            run.abandon()
        self.runs.clear()


class BaseTest(ScriptedLoadableModuleTest):
    """Reload and Test runs what CTest runs."""

    def cases(self) -> type:
        """The module's tests, imported when they are wanted."""
        raise NotImplementedError

    def runTest(self) -> None:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(self.cases())
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful():
            raise AssertionError(_("Some tests failed; the console has the details."))
