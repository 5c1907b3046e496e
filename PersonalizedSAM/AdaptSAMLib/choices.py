"""Boxes and lists of a panel: filled, shown as the parameters are, and read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

import qt
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import patients


def fill(combo: qt.QComboBox, entries: Iterable[tuple[str, str]]) -> None:
    """Fill a box with entries (text, value), without signals."""
    blocked = combo.blockSignals(True)
    combo.clear()
    for text, value in entries:
        combo.addItem(text, value)
    combo.blockSignals(blocked)


def choose(combo: qt.QComboBox, value: str) -> None:
    """Show a value; one that is not in the list (a file) is added."""
    index = combo.findData(value)
    if index < 0:
        combo.addItem(os.path.basename(value) or value, value)
        index = combo.findData(value)
    if combo.currentIndex != index:
        combo.currentIndex = index


def chosen(combo: qt.QComboBox) -> str:
    """The value of the entry that is shown."""
    return combo.itemData(combo.currentIndex)


def titled(node: slicer.vtkMRMLNode) -> str:
    """An image as lists name it, with its study date or the number of its images."""
    if node.IsA("vtkMRMLSequenceNode"):
        return _("{name} ({count} images)").format(name=node.GetName(), count=node.GetNumberOfDataNodes())
    day = patients.studyDate(node)
    return f"{node.GetName()} ({day[:4]}-{day[4:6]}-{day[6:]})" if day else node.GetName()


def showTicks(widget: qt.QListWidget, entries: Iterable[tuple[str, str, str]], marked: Collection[str]) -> None:
    """Entries (value, text, tooltip) with ticks on those whose value is marked; rebuilt only where they differ from what is shown."""
    items = [widget.item(n) for n in range(widget.count)]
    shown = [(one.data(qt.Qt.UserRole), one.text(), one.toolTip(), one.checkState() == qt.Qt.Checked) for one in items]
    wanted = [(value, text, tip, value in marked) for value, text, tip in entries]
    if shown == wanted:
        return
    blocked = widget.blockSignals(True)
    widget.clear()
    for number, (value, text, tip, on) in enumerate(wanted):
        widget.addItem(text)
        item = widget.item(number)
        item.setData(qt.Qt.UserRole, value)
        item.setToolTip(tip)
        item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)
    widget.blockSignals(blocked)


def ticked(widget: qt.QListWidget) -> list:
    """The values of a list's entries that are ticked."""
    items = [widget.item(n) for n in range(widget.count)]
    return [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]


def narrow(widget: qt.QListWidget, words: str) -> None:
    """Show of a list of ticks what has all of the words in its text, and what is ticked."""
    wanted = words.lower().split()
    for item in (widget.item(n) for n in range(widget.count)):
        text = item.text().lower()
        item.setHidden(item.checkState() != qt.Qt.Checked and not all(one in text for one in wanted))
