"""
A user whose client offers an ad-hoc command of three steps (XEP-0050), in slixmpp's own implementation: a bot
is named, then it is configured, then it is there.
"""

from __future__ import annotations

from typing import Any

from tests.live.client import Client

NODE = "new-bot"
NAME = "Set up a bot"
ROOMS = [{"label": "The hall", "value": "hall"}, {"label": "", "value": "yard"}]
MOODS = [{"label": "10 %", "value": "10"}, {"label": '\u00fcber <all> & "more"', "value": "a b"}]


class CommandOwner(Client):
    """
    Offers the command.

    @ivar filledIn: the values of each form that came back, as slixmpp read them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filledIn: list[dict[str, Any]] = []

    def offer(self) -> None:
        """
        Offer the command, at our full address.
        """

        async def register() -> None:
            for plugin in ("xep_0030", "xep_0004", "xep_0050"):
                self._connected.register_plugin(plugin)
            self._connected["xep_0050"].add_command(node=NODE, name=NAME, handler=self._begin)

        self._run(register(), 5)

    def _begin(self, iq: Any, session: dict[str, Any]) -> dict[str, Any]:
        """
        Ask for a name, and the rooms.
        """
        form = self._form("A new bot", "Say what it is")
        form.add_field(var="FORM_TYPE", ftype="hidden", value="urn:example:bot")
        form.add_field(var="name", ftype="text-single", label="Its name", desc="A <short> one", required=True)
        form.add_field(var="rooms", ftype="list-multi", value=["hall", "yard"], options=ROOMS)
        form.add_field(var="owners", ftype="jid-multi", value=["kate@localhost"])
        return {**session, "payload": form, "next": self._configure, "has_next": True}

    def _configure(self, form: Any, session: dict[str, Any]) -> dict[str, Any]:
        """
        Ask how it is.
        """
        self.filledIn.append(form.get_values())
        form = self._form("How is it?", "")
        form.add_field(var="mood", ftype="list-single", value="a b", options=MOODS)
        form.add_field(var="public", ftype="boolean", value=True)
        form.add_field(var="greeting", ftype="text-multi", value="Hello\n\nand <welcome>")
        form.add_field(ftype="fixed", value="That's it")
        steps = {"next": self._finish, "has_next": False, "allow_prev": True, "prev": self._begin}
        return {**session, "payload": form, **steps}

    def _finish(self, form: Any, session: dict[str, Any]) -> dict[str, Any]:
        """
        Tell what there is now. slixmpp looks at what became of the session that it handed over.
        """
        self.filledIn.append(form.get_values())
        result = self._connected["xep_0004"].make_form(ftype="result", title="Done")
        result.add_field(var="jid", ftype="jid-single", value="oracle@localhost")
        result.add_field(var="rooms", ftype="list-multi", value=["hall", "yard"])
        result.add_field(var="public", ftype="boolean", value=False)
        session.update(payload=result, next=None, notes=[("info", "Oracle is <there>")])
        return session

    def _form(self, title: str, instructions: str) -> Any:
        """
        An empty form.
        """
        return self._connected["xep_0004"].make_form(ftype="form", title=title, instructions=instructions)
