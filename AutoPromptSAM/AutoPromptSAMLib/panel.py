"""The module's panel: what the user sees and touches. All work is the logic's."""

from __future__ import annotations

import base64

import qt
from AdaptSAMLib import choices, images, patients
from AdaptSAMLib.engine import Engine, elsewhere
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _

from AutoPromptSAMLib import inputs, parameters
from AutoPromptSAMLib.replayPanel import ReplayPanel
from AutoPromptSAMLib.run import Run
from AutoPromptSAMLib.trainingPanel import TrainingPanel

#: Of an agent's scores, as the card shows them.
SCORES = {
    "iou": _("overlap (IoU)"),
    "label_accuracy": _("points labelled rightly"),
    "accepted_where_shown": _("slices kept with it"),
    "accepted_where_not": _("without it"),
}


class Panel(ReplayPanel, TrainingPanel):
    """Base of AutoPromptSAMWidget, which names the logic."""

    boxes = TrainingPanel.boxes | {"clip": "clipComboBox"}
    lines = TrainingPanel.lines | {"text": "textLineEdit"}

    def prepare(self) -> None:
        ui = self.ui
        ui.targetList.itemChanged.connect(lambda item: self.onTicked())
        ui.agentList.itemChanged.connect(lambda item: self.onTicked())
        ui.searchLineEdit.textChanged.connect(lambda text: self.update())
        choices.fill(ui.clipComboBox, [(_("The one that comes with AdaptSAM"), "")])
        ui.clipFolderButton.clicked.connect(lambda checked=False: self.onClipFolder())
        self.prepareTraining()
        self.prepareReplay()

    def forget(self) -> None:
        self.replay = None
        self.forgetTraining()

    # -- agents

    def lookAround(self) -> None:
        """Look for the agents of this computer, too, in the heads of their files; no worker is started for them."""
        super().lookAround()
        if elsewhere():
            self.knownAgents = self.knownAgents if self.models else []  # both come from its worker
        elif not self._lacking:
            from adaptsam.alignsam.agent_folders import unfinished_agents
            from adaptsam.alignsam.agent_listing import list_agents

            self.knownAgents, self.unfinished = list_agents(), unfinished_agents()

    def needsWorker(self) -> bool:
        """Whether models are shown, or the agents are those of another machine."""
        return super().needsWorker() or bool(elsewhere())

    def askWorker(self) -> None:
        """Request the agents of another machine, too; one that was trained there meanwhile appears."""
        super().askWorker()
        if not self._lacking and elsewhere():
            Engine.shared().request("agents", self.onAgents)

    def onAgents(self, event: dict) -> None:
        if event["event"] in ("error", "lost"):
            self.tell(event["message"])
        if event["event"] != "agents":
            return
        self.knownAgents, self.unfinished = event["agents"], event["unfinished"]
        self.fillDefaults()
        self.update()

    def agents(self) -> list:
        """The descriptions of those that are ticked."""
        return [one for one in self.knownAgents if one["path"] in self._parameterNode.agents]

    def agentTitle(self, agent: dict) -> str:
        """One line of the list."""
        if agent["problem"]:
            return _("{name}: cannot be used").format(name=agent["name"])
        kind = agent["shown"]["modality"] or _("any modality")
        own = "" if agent["name"].casefold() == agent["target"]["name"].casefold() else f" ({agent['name']})"
        return f"{agent['target']['name']}, {kind}{own}"

    def _matching(self) -> list:
        """The agents that the search finds, and those that are ticked."""
        words = self.ui.searchLineEdit.text.lower().split()
        ticked = self._parameterNode.agents
        said = {one["path"]: f"{self.agentTitle(one)} {self._card(one)}".lower() for one in self.knownAgents}
        return [
            one for one in self.knownAgents if one["path"] in ticked or all(word in said[one["path"]] for word in words)
        ]

    def _showAgents(self) -> None:
        ui, chosen = self.ui, self.agents()
        lines = [agent["problem"] for agent in chosen if agent["problem"]]
        if not self.knownAgents and not self._lacking and (self.models or not elsewhere()):
            lines = [_("There is no agent on this computer yet; train one on the other tab.")]
        ui.agentCardLabel.text = "\n".join(lines)
        ui.agentCardLabel.visible = bool(lines)
        words = any(one.get("text") for one in chosen)
        for widget in (ui.textLineEdit, ui.textLineEditLabel):
            widget.visible = words
        for widget in (ui.clipComboBox, ui.clipFolderButton, ui.clipComboBoxLabel):
            widget.visible = words or self._parameterNode.trainBranch == "explicit"
        self._showPictures()

    def _showPictures(self) -> None:
        """Show what each agent finds as a small picture beside its line."""
        pictures = {one["path"]: one.get("picture", "") for one in self.knownAgents}
        blocked = self.ui.agentList.blockSignals(True)
        for number in range(self.ui.agentList.count):
            item = self.ui.agentList.item(number)
            text = pictures.get(item.data(qt.Qt.UserRole), "")
            if text and item.icon().isNull():
                picture = qt.QPixmap()
                picture.loadFromData(qt.QByteArray(base64.b64decode(text)))
                item.setIcon(qt.QIcon(picture))
        self.ui.agentList.blockSignals(blocked)

    @staticmethod
    def _card(agent: dict) -> str:
        """The tooltip of an agent: its code, its model, and its scores."""
        if agent["problem"]:
            return agent["problem"]
        code = agent["target"]["code"]
        figures = [f"{title} {agent['scores'][key]:.2f}" for key, title in SCORES.items() if key in agent["scores"]]
        text = _("{name}: for {model}, {count} steps").format(
            name=agent["target"]["name"],
            model=agent["sam"]["kind"],
            count=agent["settings"]["steps_in_use"] or agent["settings"]["environment"]["steps"],
        )
        if agent["text"]:
            text += _(', looks for "{words}"').format(words=agent["text"])
        text += (", " + ", ".join(figures) if figures else "") + "."
        beside = [f"{name} {value:.2f}" for name, value in agent["scores"].get("comparators", {}).items()]
        if beside:
            text += " " + _("Simpler ways to the same mask (IoU): {figures}.").format(figures=", ".join(beside))
        if agent["outdone_by"]:
            text += " " + _("One of them does as well as the agent.")
        return text + (f" {code[1]} {code[0]}." if code else "")

    # -- what is shown

    def fillDefaults(self) -> None:
        """The earliest volume, and the only agent if there is one alone."""
        node = self._parameterNode
        if node is None:
            return
        volumes = images.candidates()
        if not self.targets() and volumes:
            node.targets = patients.byDate(volumes)[:1]
        usable = [one for one in self.knownAgents if not one["problem"]]
        if not node.agents and len(usable) == 1:
            node.agents = [usable[0]["path"]]

    def showInputs(self) -> None:
        self._listImages(images.candidates())
        entries = [(one["path"], self.agentTitle(one), self._card(one)) for one in self._matching()]
        choices.showTicks(self.ui.agentList, entries, self._parameterNode.agents)
        self._showAgents()
        self.updateTraining()

    def onTicked(self) -> None:
        node = self._parameterNode
        listed = {one["path"] for one in self.knownAgents}  # what a scene brings may not be listed yet
        agents = choices.ticked(self.ui.agentList) + [one for one in node.agents if one not in listed]
        modifying = node.StartModify()  # the first change would bring back what the other list showed
        node.agents, node.targets = agents, self._tickedImages()
        node.EndModify(modifying)

    def onClipFolder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Choose the folder of an open_clip model"), "")
        if path:
            self._parameterNode.clip = path

    # -- a run

    def checkInputs(self) -> None:
        if self.training is not None:
            raise InputProblem(_("An agent is being trained; wait for it, or cancel the training."))
        inputs.check(self.targets(), self.agents())

    def inputQuestion(self) -> str:
        return inputs.question(self.targets(), self.agents())

    def applyTip(self) -> str:
        return _("Finds the ticked structures in the ticked images. The window stays free meanwhile.")

    def startRun(self) -> Run:
        node = self._parameterNode
        return self.logic.segment(
            self.targets(),
            self.agents(),
            roi=node.roi,
            slices=parameters.slicesOf(node),
            text=node.text.strip(),
            settings=parameters.settingsOf(node),
            checkpoint=node.model or None,
            device=node.device,
            clip=node.clip or None,
            wait=False,
            allowOtherModality=True,
            onProgress=self.onProgress,
            onOutcome=self.onOutcome,
            onEnd=self.onEnd,
        )
