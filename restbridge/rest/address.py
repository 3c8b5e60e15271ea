"""
From whom, to whom: the checks that each stanza passes before it leaves.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, NS_XML
from restbridge.web.answer import Refusal
from restbridge.web.grants import QUERY, SEND
from restbridge.web.guard import Principal, permit

_KINDS = ("message", "presence", "iq")
_KEPT = ("type", (NS_XML, "lang"))


def address(stanza: Element, principal: Principal, made: str | None = None) -> Element:
    """
    Normalise the addresses of a stanza, give it an id, and drop any attribute that no stanza has.

    C{to} may stay absent: the stanza is then for the account that it comes from.

    @param made: the id of a stanza that has none; a new one by default.
    @return: the stanza, changed.
    @raise Refusal: it is no stanza (422), an address is none (422), or C{principal} may not send from
        C{from}, or nothing of this kind (403).
    """
    if stanza.uri not in (NS_CLIENT, ""):
        raise _unprocessable("invalid-namespace", "'xmlns' attribute must be empty")
    if stanza.name not in _KINDS:
        raise _unprocessable(
            "unsupported-stanza-type", "Invalid stanza, must be 'message', 'presence' or 'iq'."
        )
    permit(principal, QUERY if stanza.name == "iq" else SEND)
    given = stanza.attributes
    to = _parse(given.get("to"), "improper-addressing", "Invalid destination JID")
    sender = _parse(given.get("from"), "invalid-from", "Invalid source JID") or principal.address
    if not principal.maySendAs(sender):
        raise Refusal(403, "auth", "not-authorized", _forbidden(principal, sender))
    if to is not None:
        sender = principal.occupant(sender, to)
    stanza.attributes = {"from": sender.full, "id": given.get("id") or made or newId()}
    if to is not None:
        stanza["to"] = to.full
    stanza.attributes.update((name, given[name]) for name in _KEPT if given.get(name))
    return stanza


def _parse(text: str | None, condition: str, problem: str) -> JID | None:
    if text is None:
        return None
    try:
        return JID.parse(text)
    except InvalidJID as error:
        raise _unprocessable(condition, f"{problem}: {error}") from None


def _unprocessable(condition: str, text: str) -> Refusal:
    return Refusal(422, "modify", condition, text)


def _forbidden(principal: Principal, sender: JID) -> str:
    return (
        f"Not authorized to send stanza with requested 'from': {principal.name} may not send as "
        f"{sender.full}; {principal.rule}"
    )
