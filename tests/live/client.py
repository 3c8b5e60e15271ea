"""
A real XMPP client, on a stack that is not ours (slixmpp on asyncio), with a small synchronous face.

Each client runs in a thread with an event loop of its own. Every stanza that comes in waits in a mailbox as
an C{xml.etree} element, until a test L{expect<Client.expect>}s it.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, fromstring
from xml.sax.saxutils import escape, quoteattr

from slixmpp import ClientXMPP

from tests.live.mailbox import Mailbox
from tests.live.process import LOOPBACK

CLIENT = "{jabber:client}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

Predicate = Callable[[Element], bool]


def kind(stanza: Element) -> str:
    """
    C{message}, C{presence} or C{iq}.
    """
    return stanza.tag.removeprefix(CLIENT)


def body(stanza: Element) -> str | None:
    """
    The text of the first body.
    """
    return stanza.findtext(f"{CLIENT}body")


def condition(stanza: Element) -> tuple[str | None, str]:
    """
    Type and defined condition of an error stanza, as C{("cancel", "item-not-found")}.
    """
    error = stanza.find(f"{CLIENT}error")
    if error is None:
        return None, ""
    names = [child.tag.removeprefix(STANZAS) for child in error if child.tag.startswith(STANZAS)]
    return error.get("type"), next((name for name in names if name != "text"), "")


class _Stack(ClientXMPP):
    """
    slixmpp, handing each stanza over before it does anything with it.
    """

    def __init__(self, jid: str, password: str, mailbox: Mailbox[Element]) -> None:
        super().__init__(
            jid,
            password,
            plugin_config={"feature_mechanisms": {"unencrypted_plain": True, "unencrypted_scram": True}},
        )
        mechanisms = self["feature_mechanisms"]
        security = mechanisms.security_callback
        # Else it would say that it could bind the channel (RFC 5802, section 6), where there is no TLS for
        # that; ejabberd 24.12 refuses it.
        mechanisms.security_callback = lambda values: {**security(values), "binding_proposed": True}
        self._mailbox = mailbox
        self.silent = False
        self.enable_direct_tls = False
        self.enable_starttls = False
        self.enable_plaintext = True
        self.add_filter("in", self._keepSilent)

    def incoming_filter(self, xml: Element) -> Element:
        """
        Called for everything that comes in.
        """
        if xml.tag.startswith(CLIENT):
            self._mailbox.put(copy.deepcopy(xml))
        return xml

    def _keepSilent(self, stanza: Any) -> Any:
        """
        Drop requests when told to, so that they are never answered.
        """
        asks = stanza.name == "iq" and stanza["type"] in ("get", "set")
        return None if self.silent and asks else stanza


class Client:
    """
    A user who is logged in.
    """

    def __init__(self) -> None:
        self.mailbox: Mailbox[Element] = Mailbox("a stanza")
        self._ids = (f"c{number}" for number in itertools.count(1))
        self._loop = asyncio.new_event_loop()
        self._stack: _Stack | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def connect(
        self, jid: str, password: str, port: int, host: str = LOOPBACK, timeout: float = 10.0
    ) -> None:
        """
        Log in, become available, and wait until the server shows us our own presence.

        @param jid: with a resource.
        """
        self._run(self._connect(jid, password, host, port), timeout)
        self.send("<presence/>")
        self.expect(lambda stanza: kind(stanza) == "presence" and stanza.get("from") == self.jid, timeout)

    @property
    def jid(self) -> str:
        """
        Our full address, as the server bound it.
        """
        return str(self._connected.boundjid.full)

    @property
    def _connected(self) -> _Stack:
        assert self._stack is not None, "not connected"
        return self._stack

    def keepSilent(self, silent: bool = True) -> None:
        """
        Whether requests (IQs of type get and set) are left without an answer; slixmpp answers them otherwise.
        """
        self._connected.silent = silent

    def send(self, xml: str) -> None:
        """
        Send a piece of XML as it is.
        """

        async def write() -> None:
            self._connected.send_raw(xml)

        self._run(write(), 5)

    def message(self, to: str, text: str, messageType: str = "chat") -> str:
        """
        Send a message.

        @return: its id.
        """
        used = next(self._ids)
        self.send(
            f"<message type={quoteattr(messageType)} to={quoteattr(to)} id={quoteattr(used)}>"
            f"<body>{escape(text)}</body></message>"
        )
        return used

    def request(self, to: str, payload: str, iqType: str = "get", timeout: float = 10.0) -> Element:
        """
        Send an IQ, and wait for its answer: a result or an error.
        """
        used = next(self._ids)
        self.send(f"<iq type={quoteattr(iqType)} to={quoteattr(to)} id={quoteattr(used)}>{payload}</iq>")
        answers = ("result", "error")
        return self.expect(lambda one: one.get("id") == used and one.get("type") in answers, timeout)

    def expect(self, predicate: Predicate, timeout: float = 10.0) -> Element:
        """
        Take the oldest stanza that came in and fits out of the mailbox; wait for it if need be.
        """
        return self.mailbox.expect(predicate, timeout)

    def close(self) -> None:
        """
        Log out, and end the thread.
        """
        if self._loop.is_closed():
            return
        try:
            self._run(self._disconnect(), 5)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    async def _connect(self, jid: str, password: str, host: str, port: int) -> None:
        """
        Runs in the loop's thread: slixmpp takes the loop that it is made in.
        """
        stack = self._stack = _Stack(jid, password, self.mailbox)
        ready: asyncio.Future[None] = self._loop.create_future()

        def refused(reason: object) -> None:
            if not ready.done():
                ready.set_exception(AssertionError(f"{jid} could not log in: {reason}"))

        def started(event: object) -> None:
            if not ready.done():
                ready.set_result(None)

        stack.add_event_handler("session_start", started)
        stack.add_event_handler("failed_all_auth", refused)
        stack.add_event_handler("connection_failed", refused)
        stack.connect(host, port)
        await ready

    async def _disconnect(self) -> None:
        """
        Say goodbye, then let no task of slixmpp's outlive the loop.
        """
        if self._stack is not None:
            self._stack.cancel_connection_attempt()
            await self._stack.disconnect(wait=1.0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Any, timeout: float) -> None:
        """
        Run a coroutine in the loop's thread, and wait for its end.
        """
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)


def parse(xml: str | bytes) -> Element:
    """
    Read a stanza, for comparison; C{jabber:client} when it names no namespace, as in mod_rest's answers.
    """
    element = fromstring(xml)
    if not element.tag.startswith("{"):
        for each in element.iter():
            each.tag = each.tag if each.tag.startswith("{") else CLIENT + each.tag
    return element
