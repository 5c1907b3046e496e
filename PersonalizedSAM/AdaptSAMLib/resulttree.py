"""Tree of a run's structures, below each its slices to look at, with a tick on what was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from AdaptSAMLib import review, segments, tables
from AdaptSAMLib.results import Outcome
from AdaptSAMLib.review import Review, Structure
from AdaptSAMLib.run import BaseRun

#: Slices that are listed, the least trusted ones of all structures.
LISTED = 500


class ResultTree:
    """The tree of a panel's results.

    Args:
        tree: a QTreeWidget.
        hasPrior: whether results are compared with contours.
        onChosen: called with an AdaptSAMLib.review.Review when a structure or slice was chosen.

    Attributes:
        structures: AdaptSAMLib.review.Structure of the run that is shown, in order.
    """

    def __init__(self, tree: qt.QTreeWidget, hasPrior: bool, onChosen: Callable[[Review], None]) -> None:
        self.structures: list = []
        self._tree, self._hasPrior, self._onChosen = tree, hasPrior, onChosen
        self._run, self._seen, self._items = None, set(), []
        tree.currentItemChanged.connect(lambda item, before: self._choose(item))
        tree.itemClicked.connect(lambda item, column: self._choose(item))
        tree.itemChanged.connect(lambda item, column: self._tick(item))

    # -- what is shown

    def show(self, run: BaseRun | None) -> None:
        """The results of a run, or none; what was chosen and ticked stays so while it is the same run."""
        if run is not self._run:
            self._run, self._seen = run, set()
        kept = self.current.key if self.current is not None else None
        outcomes = list(run.outcomes) if run is not None else []
        self.structures = review.structures(outcomes, run.names if run is not None else {})
        blocked = self._tree.blockSignals(True)
        self._tree.clear()
        self._items = []
        self._title(outcomes)
        listed = self._listed()
        for number, one in enumerate(self.structures):
            self._add(number, one, listed, tables.digits(outcomes), len({id(other.target) for other in outcomes}) > 1)
        self._fit()
        self._show(kept)
        self._tree.blockSignals(blocked)
        self._tellStatus()

    def _title(self, outcomes: Sequence[Outcome]) -> None:
        unit, length = tables.units(outcomes)
        titles = {_("Structure"): "", unit: _("How much there is")}
        if self._hasPrior:
            titles |= {"Δ %": _("Change from the contours"), f"Δ {length}": _("Shift of the centre from where it was")}
        titles |= {_("Conf."): _("Confidence, 0 to 1: the Dice that is expected. An estimate."), _("To look at"): ""}
        self._tree.columnCount = len(titles)
        self._tree.setHeaderLabels(list(titles))
        for column, tip in enumerate(titles.values()):
            self._tree.headerItem().setToolTip(column, tip)

    def _listed(self) -> set:
        every = [slice_ for one in self.structures for slice_ in one.slices]
        return {one.key for one in sorted(every, key=lambda one: one.confidence)[:LISTED]}

    def _add(self, number: int, one: Structure, listed: set, digits: int, several: bool) -> None:
        name = f"{one.name}, {one.outcome.target.title}" if several else one.name
        told = tables.numbers(one.report)
        changes = [tables.shown(told["change"], 1), tables.shown(told["shift"], 1)] if self._hasPrior else []
        values = [name, tables.shown(told["amount"], digits), *changes, tables.shown(told["confidence"], 2)]
        parent = self._item(values, f"{number}", one.whole if one.flags else None)
        parent.setToolTip(0, f"{one.name}, {one.outcome.target.title}")
        self._tree.addTopLevelItem(parent)
        for place, slice_ in enumerate(one.slices):
            if slice_.key in listed:
                empty = [""] * (len(values) - 2)
                item = self._item([slice_.place, *empty, f"{slice_.confidence:.2f}"], f"{number} {place}", slice_)
                item.setText(len(values), slice_.reason)
                item.setToolTip(len(values), slice_.reason)
                parent.addChild(item)
        parent.setExpanded(True)
        self._tellLeft(parent, one)

    def _item(self, values: list, key: str, reviewed: Review | None) -> qt.QTreeWidgetItem:
        item = qt.QTreeWidgetItem()
        self._items.append(item)  # Qt does not keep Python's items alive in every version of PythonQt
        for column, text in enumerate(values):
            item.setText(column, text)
        item.setData(0, qt.Qt.UserRole, key)
        if reviewed is not None:
            item.setCheckState(0, qt.Qt.Checked if reviewed.key in self._seen else qt.Qt.Unchecked)
        return item

    def _tellLeft(self, parent: qt.QTreeWidgetItem, one: Structure) -> None:
        """Show what is left to look at in the parent's last column."""
        left = [slice_ for slice_ in one.slices if slice_.key not in self._seen]
        words = [*one.flags, _("slices: {count}").format(count=len(left))] if left else list(one.flags)
        column = self._tree.columnCount - 1
        parent.setText(column, ", ".join(words) or (_("seen") if one.slices else "–"))
        parent.setToolTip(column, parent.text(column))

    def _fit(self) -> None:
        """The figures have the room that they need, and reasons what is left."""
        for column in range(self._tree.columnCount - 1):
            self._tree.resizeColumnToContents(column)

    # -- what is chosen

    def _at(self, item: qt.QTreeWidgetItem) -> tuple[Structure, Review | None]:
        """The structure of an item, and its slice or None."""
        number, _space, place = item.data(0, qt.Qt.UserRole).partition(" ")
        one = self.structures[int(number)]
        return one, (one.slices[int(place)] if place else None)

    @property
    def structure(self) -> Structure | None:
        """The structure that is chosen, the first one where none is; None without results."""
        item = self._tree.currentItem()
        if item is not None:
            return self._at(item)[0]
        return self.structures[0] if self.structures else None

    @property
    def current(self) -> Review | None:
        """The AdaptSAMLib.review.Review that is chosen, or None."""
        item = self._tree.currentItem()
        if item is None or not self.structures:
            return None
        one, slice_ = self._at(item)
        return slice_ or one.whole

    def _choose(self, item: qt.QTreeWidgetItem | None) -> None:
        if item is not None:
            self._onChosen(self.current)

    def _show(self, key: tuple) -> None:
        for item in self._items:
            one, slice_ = self._at(item)
            if (slice_ or one.whole).key == key:
                self._tree.setCurrentItem(item)

    def _tick(self, item: qt.QTreeWidgetItem) -> None:
        one, slice_ = self._at(item)
        key = (slice_ or one.whole).key
        checked = item.checkState(0) == qt.Qt.Checked
        if checked == (key in self._seen):
            return
        self._seen ^= {key}
        blocked = self._tree.blockSignals(True)
        self._tellLeft(item.parent() or item, one)
        self._tree.blockSignals(blocked)
        self._tellStatus()

    # -- from one to the next

    def step(self, forward: bool) -> bool:
        """Go to the next item that was not seen, ticking the one that is left; or one back. Whether there was one."""
        open_ = [item for item in self._items if self._reviewed(item)]
        at = open_.index(self._tree.currentItem()) if self._tree.currentItem() in open_ else -1
        if forward and at >= 0:
            open_[at].setCheckState(0, qt.Qt.Checked)
        after = [one for one in open_[at + 1 :] if one.checkState(0) != qt.Qt.Checked]
        before = open_[: max(at, 0)]
        found = (
            (after[:1] or [one for one in before if one.checkState(0) != qt.Qt.Checked][:1]) if forward else before[-1:]
        )
        for item in found:
            self._tree.setCurrentItem(item)
        return bool(found)

    def _reviewed(self, item: qt.QTreeWidgetItem) -> bool:
        one, slice_ = self._at(item)
        return slice_ is not None or bool(one.flags)

    def _tellStatus(self) -> None:
        """Flag segments with something that was not seen, in Slicer's own table, too; the others are in progress."""
        for one in self.structures:
            left = [other for other in one.reviews if other.key not in self._seen]
            node = one.outcome.segmentationNode
            if node is not None:
                segments.setStatus(node, one.segmentId, "Flagged" if left else "InProgress")
