"""Points placed with the mouse: a press in Slicer's own slice view, taken by its interactor style and markups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def test_a_click_in_the_slice_places_a_point_and_escape_lets_the_button_up(
    application: Any, scene: Any, until: Callable[..., None]
) -> None:
    import qt
    import slicer
    from AdaptSAMLib import prompts
    from PersonalizedSAMLib.placing import Placing
    from slicer_bench import bench
    from slicer_bench.views import SliceView

    for kind in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        node = getattr(slicer, kind)()
        node.SetSingletonTag("Singleton")
        mouse = scene.AddNode(node)
    matrix = np.diag([-2.0, -2.0, 5.0, 1.0])
    volume = slicer.util.addVolumeFromArray(np.zeros((10, 40, 40), np.int16), ijkToRAS=matrix, name="CT")
    volume.CreateDefaultDisplayNodes()
    view = SliceView(bench.applicationLogic())
    view.show(volume)
    lists = {name: prompts.newList(name, prompts.POSITIVE, prompts.POSITIVE) for name in ("structure", "background")}
    buttons = {name: qt.QPushButton() for name in lists}
    for one in buttons.values():
        one.checkable = True
    told: list[str] = []
    placing = Placing(buttons, lists.get, told.append)
    view.picture()

    buttons["background"].click()
    assert mouse.GetCurrentInteractionMode() == mouse.Place
    view.click([-30.0, -40.0, 25.0])
    until(lambda: told, 30)
    assert told == ["background"]
    [(_, point, _ras)] = prompts.onSlice(lists["background"], volume, 0, 5)
    assert np.allclose(point, [15, 20], atol=1.0)
    assert buttons["background"].checked
    assert mouse.GetCurrentInteractionMode() != mouse.Place, "nothing is placed while points are exchanged"
    placing.again()
    assert mouse.GetCurrentInteractionMode() == mouse.Place
    buttons["structure"].click()
    assert not buttons["background"].checked
    assert placing.active == "structure"
    mouse.SwitchToViewTransformMode()  # Escape
    until(lambda: not buttons["structure"].checked, 30)
    assert placing.active is None
    assert lists["structure"].GetNumberOfControlPoints() == 0
