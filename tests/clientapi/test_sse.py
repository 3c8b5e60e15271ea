"""
L{restbridge.clientapi.sse}: clients that read slowly, or not at all.
"""

from __future__ import annotations

from restbridge.clientapi.event import EventId
from restbridge.clientapi.sse import MAX_BYTES, MAX_EVENTS
from tests.clientapi.eventscase import EventsCase


class SlowTests(EventsCase):
    """
    A client that doesn't read.
    """

    def test_resumes(self) -> None:
        """
        What comes while it doesn't read comes when it does, in order.
        """
        listener = self.listen()
        self.say("one")
        listener.pause()
        self.say("two", "three")
        self.assertEqual(listener.texts, ["one"])
        listener.resume()
        self.say("four")
        self.assertEqual(listener.texts, ["one", "two", "three", "four"])

    def test_cutOff(self) -> None:
        """
        Past a number of events, or of bytes, it is cut off; others aren't, and it has lost nothing.
        """
        for number, text in ((MAX_EVENTS + 1, "x"), (20, "long" * (MAX_BYTES // 60))):
            listener, other = self.listen(), self.listen()
            self.say("known")
            listener.pause()
            texts = [f"{n} {text}" for n in range(number)]
            self.say(*texts[:-1])
            if text == "x":
                self.assertFalse(listener.client.closed)
            self.say(texts[-1])
            self.assertTrue(listener.client.closed)
            listener.client.leave()
            self.assertEqual(other.texts[-1], texts[-1])
            self.settle()
            again = self.listen(listener.lastId)
            self.assertEqual(again.texts, texts)
            for each in (other, again):
                each.client.leave()
            self.login.archive.clear()

    def test_replay(self) -> None:
        """
        A replay goes on as the client reads, and holds no more than a page.
        """
        self.miss("known", *(f"{n}" for n in range(200)))
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="known")))
        listener.pause()
        self.settle()
        self.assertEqual((listener.texts, len(self.login.asked)), ([], 1))
        listener.resume()
        self.assertEqual(listener.texts, [f"{n}" for n in range(200)])
