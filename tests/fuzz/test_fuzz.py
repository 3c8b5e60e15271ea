"""
The fuzzer itself, without atheris: what it begins with holds, and it finds what it is for.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import growth
from tests.fuzz.seeds import MAX_SEED, seeds
from tests.fuzz.targets import TARGETS


class FuzzTests(SynchronousTestCase):
    def test_seeds(self) -> None:
        """
        Every target keeps its promise for all that was recorded, and there is something for each.
        """
        corpus = seeds()
        self.assertEqual(sorted(corpus), sorted(TARGETS))
        for name, inputs in corpus.items():
            self.assertTrue(inputs, name)
            for data in (b"", *inputs):
                self.assertLessEqual(len(data), MAX_SEED)
                TARGETS[name](data)

    def test_quadratic(self) -> None:
        """
        Work that grows with the square of an input is found, whatever the input is made of.
        """

        def quadratic(data: bytes) -> None:
            for end in range(0, len(data), 8):
                for _ in data[:end]:
                    pass

        self.assertRaises(growth.TooSlow, growth.check, quadratic, b"<a/>", Random(1))

    def test_linear(self) -> None:
        """
        Work that grows with the input is none.
        """

        def linear(data: bytes) -> None:
            for _ in range(200 * len(data[: 8 * growth.SHORT])):
                pass

        growth.check(linear, b"<a/>", Random(1))
