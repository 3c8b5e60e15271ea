"""
L{restbridge.clientapi.events}: who is brought what, over a login that the test plays.
"""

from __future__ import annotations

from restbridge.clientapi.event import Event, EventId
from restbridge.clientapi.events import MAX_STREAMS, PATIENCE, RETURN
from restbridge.clientapi.sse import COMMENT_EVERY, MAX_EVENTS
from restbridge.stanzas.xml import parseDocument
from tests.clientapi.eventscase import BOB, GONE, HERE, NOW, OWN, EventsCase, Listener, carbon, delay, message
from tests.web.client import Client, basic


class StreamTests(EventsCase):
    """
    The answer, and what is in it.
    """

    def test_answer(self) -> None:
        """
        It begins at once, and nothing else comes until something happens.
        """
        listener = self.listen()
        self.assertEqual(listener.headers["Content-Type"], "text/event-stream")
        self.assertEqual(listener.headers["Cache-Control"], "no-cache")
        self.assertEqual(listener.headers["X-Accel-Buffering"], "no")
        self.assertEqual(listener.body, "")
        self.assertFalse(listener.ended)

    def test_message(self) -> None:
        """
        A message is an event: id, name and data, one line each; its time is that of its coming.
        """
        listener = self.listen()
        self.receive(message("Hello\n\u2028\U0001f600", "a1"))
        (event,) = listener.events
        self.assertEqual(event.name, "message")
        expected = {"from": BOB, "to": OWN, "body": "Hello\n\u2028\U0001f600", "timestamp": int(NOW * 1e6)}
        self.assertEqual({**event.data, "id": ""}, {**expected, "id": ""})
        self.assertEqual(listener.body.count("\n"), 4)

    def test_carbon(self) -> None:
        """
        So is the carbon of one that another client got, and no carbon of one that was sent, nor one from
        anybody but the own account.
        """
        listener = self.listen()
        self.receive(
            carbon(message("got", "a1", to=f"{OWN}/phone")),
            carbon(message("sent", "a2", sender=f"{OWN}/phone", to=BOB), verb="sent"),
            carbon(message("forged", "a3"), sender=f"{BOB}/desk"),
            carbon("<nothing/>"),
            carbon(""),
        )
        self.assertEqual(listener.texts, ["got"])

    def test_noEvent(self) -> None:
        """
        What has no text, is no chat message, or is one's own to another is no event.
        """
        listener = self.listen()
        composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        self.receive(
            message(None, more=composing),
            *(message("x", kind=kind) for kind in ("normal", "headline", "groupchat", "error")),
            message("own", sender=f"{OWN}/phone", to=BOB),
            f"<presence xmlns='jabber:client' from='{BOB}' to='{OWN}'/>",
            f"<iq xmlns='jabber:client' type='result' id='1' from='{OWN}' to='{OWN}/r'/>",
        )
        self.receive(message("text"))
        self.assertEqual(listener.texts, ["text"])

    def test_groupchat(self) -> None:
        """
        What is no event of this kind is left to other takers.
        """
        self.listen()
        groupchat = parseDocument(message("x", kind="groupchat").encode())
        self.assertFalse(self.login.receive(groupchat))

    def test_toOneself(self) -> None:
        """
        What one writes to oneself is an event, once, though it comes as sent and as received.
        """
        listener = self.listen()
        note = message("note", "a2", sender=f"{OWN}/phone")
        self.receive(carbon(message("note", "a1", sender=f"{OWN}/phone"), verb="sent"), note, carbon(note))
        self.assertEqual(listener.texts, ["note"])

    def test_once(self) -> None:
        """
        A message that comes twice is one event; two with the same text are two.
        """
        listener = self.listen()
        self.receive(
            message("x", "a1"), carbon(message("x", "a1")), message("x", "a2"), message("x"), message("x")
        )
        self.assertEqual(listener.texts, ["x"] * 4)
        self.assertEqual(len({event.id for event in listener.events}), 4)

    def test_early(self) -> None:
        """
        What comes before the answer has begun is in it, too.
        """
        self.login.silent = True
        client = Client(self.site)
        client.begin("GET", "/api/sse", basic(OWN))
        self.receive(message("early"))
        self.assertEqual(client.transport.value(), b"")
        self.clock.advance(PATIENCE)
        self.assertIn(b"text/event-stream", client.transport.value())
        self.assertEqual(client.transport.value().count(b"early"), 2)

    def test_delayed(self) -> None:
        """
        A message that waited at the user's server has the time at which it was sent, but none in the future.
        """
        listener = self.listen()
        for stamp in ("2023-11-14T22:00:00Z", "2123-11-14T22:00:00Z", "0001-01-01T00:00:00Z", "noon"):
            self.receive(message("x", more=delay(stamp)))
        self.receive(message("x", more=delay("2023-11-14T22:00:00Z", BOB)))
        now = int(NOW * 1e6)
        times = [event.data["timestamp"] for event in listener.events]
        self.assertEqual(times, [1_699_999_200_000_000, now, 0, now, now])

    def test_several(self) -> None:
        """
        Each stream of a user brings everything, until it is left.
        """
        first, second = self.listen(), self.listen()
        self.say("one")
        first.client.leave()
        self.say("two")
        self.assertEqual(first.texts, ["one"])
        self.assertEqual(second.texts, ["one", "two"])

    def test_tooMany(self) -> None:
        """
        There is an end to the number of a user's streams.
        """
        streams = [self.listen() for _ in range(MAX_STREAMS)]
        surplus = Listener(self.site)
        self.assertEqual((surplus.status, surplus.headers["Retry-After"]), (429, "30"))
        streams[0].client.leave()
        self.listen()

    def test_comments(self) -> None:
        """
        A comment comes every 30 seconds, while the client reads.
        """
        listener = self.listen()
        self.clock.advance(COMMENT_EVERY - 1)
        self.assertEqual(listener.body, "")
        self.clock.pump([1, COMMENT_EVERY])
        self.assertEqual(listener.body, ":\n\n" * 2)
        listener.pause()
        self.clock.advance(COMMENT_EVERY)
        self.assertEqual(listener.body, ":\n\n" * 2)

    def test_published(self) -> None:
        """
        Others hand in events, too: each stream of that user brings them, once for each key.
        """
        listener = self.listen()
        for key in ("k1", "k1", None, None):
            event = Event(name="room.message", data=b'{"body": "in a room"}', moment=7, key=key, slot="room")
            self.events.publish(OWN, event)
        self.events.publish("carol@example.com", event)
        self.assertEqual([event.name for event in listener.events], ["room.message"] * 3)
        self.assertEqual(len({event.id for event in listener.events}), 3)

    def test_refused(self) -> None:
        """
        405 before 401 before anything is written; a login that is down is 503.
        """
        client = Client(self.site)
        reply = client.request("POST", "/api/sse", basic(OWN))
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "OPTIONS, GET"))
        self.assertEqual(client.request("GET", "/api/sse", basic(OWN, "wrong")).status, 401)
        self.assertEqual(client.request("OPTIONS", "/api/sse", basic(OWN)).status, 200)
        self.login.end()
        self.assertEqual(client.request("GET", "/api/sse", basic(OWN)).status, 503)
        self.assertEqual(self.login.held, 0)


class PresenceTests(EventsCase):
    """
    When the login is available.
    """

    def test_available(self) -> None:
        """
        From the first stream to the last: carbons, then presence with priority 0; both are taken back.
        """
        first, second = self.listen(), self.listen()
        self.assertEqual(self.login.told, HERE)
        self.assertEqual(self.login.held, 1)
        first.client.leave()
        self.assertEqual(self.login.told, HERE)
        second.client.leave()
        self.assertEqual(self.login.told, HERE + GONE)
        self.assertEqual(self.login.held, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.listen()
        self.assertEqual(self.login.told, HERE + GONE + HERE)

    def test_availableBefore(self) -> None:
        """
        A login that is available for another reason becomes it anew, to get what waits for the user.
        """
        presence = parseDocument(b"<presence><priority>-1</priority></presence>")
        self.login.send(presence)
        self.listen()
        self.assertEqual(self.login.told[1:], ["unavailable", *HERE])

    def test_loginEnds(self) -> None:
        """
        When the login ends so do the streams; the next one is of a new login.
        """
        listener, other = self.listen(), self.listen()
        ended = self.login
        self.relogin()
        self.assertTrue(listener.ended and other.ended)
        self.assertEqual((ended.told, ended.held), (HERE, 0))
        again = self.listen()
        self.say("hello")
        self.assertEqual(again.texts, ["hello"])

    def test_bridgeStops(self) -> None:
        """
        When the bridge stops the streams end in order, and the login is not seen any more: those that are
        being read, and those that catch up.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        streams = [self.listen(), self.listen(known)]
        self.site.connections.end()
        self.assertEqual([each.ended for each in streams], [True, True])
        self.assertEqual((self.login.told, self.login.held), (HERE + GONE, 0))

    def test_waitedFor(self) -> None:
        """
        When the connection breaks the streams end, whose clients come back with their credentials. The login
        goes on as it was, and what has come to it meanwhile is for the first who does.
        """
        first, second = self.listen(), self.listen()
        self.say("before")
        self.login.lose()
        self.assertTrue(first.ended and second.ended)
        self.assertEqual((self.login.told, self.login.held), (HERE, 1))
        self.login.resume()
        self.say("archived")
        self.receive(message("not archived"))
        again = self.listen()
        self.assertEqual(again.texts, ["archived", "not archived"])
        other = self.listen(second.lastId)
        self.say("after")
        self.settle()
        self.assertEqual(again.texts, ["archived", "not archived", "after"])
        self.assertEqual(other.texts, ["archived", "after"])
        self.assertEqual((self.login.told, self.login.held), (HERE, 1))
        again.client.leave()
        other.client.leave()
        self.assertEqual((self.login.told, self.login.held), (HERE + GONE, 0))

    def test_waitedForOnce(self) -> None:
        """
        Who comes back with Last-Event-ID has it once.
        """
        listener = self.listen()
        self.say("before")
        self.settle()
        self.login.lose()
        self.miss("away")
        self.login.resume()
        self.receive(message("away", "away", more=delay("2023-11-14T22:13:23Z", OWN)))
        self.receive(message("not archived"))
        again = self.listen(listener.lastId)
        self.assertEqual(again.texts, ["away", "not archived"])

    def test_waitedInVain(self) -> None:
        """
        For nobody the login is not available: neither when nobody comes back in time, nor when it was only
        later that the login went on, for something else.
        """
        for down in (1, RETURN + 1):
            listener = self.listen()
            self.login.lose()
            self.clock.advance(down)
            self.assertEqual(self.login.told[-2:], HERE)
            self.login.resume()
            self.say("x")
            self.clock.advance(RETURN)
            self.assertEqual((self.login.told[-2:], self.login.held), (GONE, 0))
            self.assertTrue(listener.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.listen().texts, [])

    def test_breaksAgain(self) -> None:
        """
        However often it breaks until the client is back.
        """
        listener = self.listen()
        for _ in range(3):
            self.login.lose()
            self.login.resume()
            self.say("x")
        again = self.listen()
        self.assertEqual((listener.texts, again.texts), ([], ["x"] * 1))
        self.login.lose()
        self.assertTrue(again.ended)
        ended = self.login
        self.relogin()
        self.assertEqual((ended.told, ended.held), (HERE, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_manyWait(self) -> None:
        """
        Nothing is kept without measure for whoever may come back.
        """
        self.listen()
        self.login.lose()
        self.login.resume()
        self.receive(*(message(f"{number}") for number in range(2 * MAX_EVENTS)))
        self.assertEqual(len(self.listen().texts), MAX_EVENTS)

    def test_comesTooEarly(self) -> None:
        """
        Who comes while the connection is down is refused.
        """
        self.listen()
        self.login.lose()
        self.assertEqual(Listener(self.site).status, 503)

    def test_nobodyListens(self) -> None:
        """
        Without a stream nothing is kept of what comes.
        """
        self.listen().client.leave()
        self.receive(message("x", "a1"))
        self.assertEqual(self.listen().texts, [])
