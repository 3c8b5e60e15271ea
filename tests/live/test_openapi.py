"""
C{/openapi.json} against what a bridge really answers, by Schemathesis: requests made of the description, good
ones and bad ones, whose answers must be among those described.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.live.bridge import BOT
from tests.live.case import LiveCase
from tests.live.client_api import WithClientAPI
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.servers import ROOMS
from tests.live.web import asUser, basic

EXAMPLES = 12
"""Requests for each call, each kind of request and each caller."""

ENDLESS = "/api/sse"

OWN, FOREIGN = "own-room", "foreign-room"
ADDRESSES = (
    "alice@localhost",
    "bob@localhost",
    "kate@localhost/phone",
    "nobody@localhost",
    "elsewhere.invalid",
)
TARGETS = ("localhost", ROOMS, "alice@localhost", "bridge.localhost", "elsewhere.invalid")

CALLERS = {"/rest": (BOT, asUser("alice")), "/api": (asUser("alice"),), "/": (None,)}
"""Who calls what: the value of the header Authorization."""

STRANGERS = {"/rest": (basic("bot", "wrong"), None), "/api": (BOT, None), "/": ()}
"""Who is not let in."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""An answer that is described, and no 5xx."""


def acquainted(document: dict[str, Any]) -> dict[str, Any]:
    """
    The description with names that the server knows among those to choose from: of others there would be
    hardly an answer but that there is no such thing.
    """
    document["components"]["schemas"]["JID"] = _oneOf(*ADDRESSES)
    rooms = _oneOf(OWN, f"{OWN}@{ROOMS}", FOREIGN, "no-room")
    for item in document["paths"].values():
        for holder in (item, *(each for each in item.values() if isinstance(each, dict))):
            for parameter in holder.get("parameters", ()):
                parameter["schema"] = {"to": _oneOf(*TARGETS), "id": rooms}.get(
                    parameter["name"], parameter["schema"]
                )
    return document


def _of(callers: Mapping[str, tuple[str | None, ...]], path: str) -> tuple[str | None, ...]:
    return next(found for prefix, found in callers.items() if path.startswith(prefix))


def _oneOf(*known: str) -> dict[str, Any]:
    return {"anyOf": [{"enum": list(known)}, {"type": "string"}]}


class DescriptionOnProsody(WithClientAPI, LiveCase):
    """
    Strangers with a generator.
    """

    makeServer = Prosody
    sections: ClassVar[dict[str, Any]] = {"rest": {"iq_timeout": 3, "iq_max_timeout": 3}}

    def testNothingElse(self) -> None:
        """
        Whoever calls, and whatever is sent: the answer is one that is described, and below 500.
        """
        for user, room in (("alice", OWN), ("bob", FOREIGN)):
            self.got("PUT", f"/rooms/{room}", {"name": room, "subject": ""}, user)
        for operation in self._operations():
            for caller in _of(CALLERS, operation.path):
                for mode in GenerationMode:
                    self._try(operation, mode, caller)
            for caller in _of(STRANGERS, operation.path):
                self._try(operation, GenerationMode.POSITIVE, caller, examples=2)

    def _operations(self) -> Iterator[APIOperation[Any, Any, Any, Any]]:
        document = self.bridge.get("/openapi.json").json()
        # Who calls is ours to say.
        generation = GenerationConfig(with_security_parameters=False)
        project = ProjectsConfig(default=ProjectConfig(generation=generation))
        schema = schemathesis.openapi.from_dict(
            acquainted(document), config=SchemathesisConfig(projects=project)
        )
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result
            if result.ok().path != ENDLESS:
                yield result.ok()

    def _try(
        self,
        operation: APIOperation[Any, Any, Any, Any],
        mode: GenerationMode,
        caller: str | None,
        examples: int = EXAMPLES,
    ) -> None:
        # A shorter time might be over before the answer is there.
        headers = {"Prosody-Rest-Timeout": "3", **({"Authorization": caller} if caller else {})}

        @given(operation.as_strategy(mode))
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        def run(case: Case[Any]) -> None:
            answer = case.call(f"http://{LOOPBACK}:{self.bridge.port}", headers=headers, timeout=30)
            case.validate_response(answer, checks=CHECKS)

        with self.part(f"{operation.label} as {caller}, {mode.value} data"):
            try:
                run()
            except Unsatisfiable:
                # Nothing can be said wrong where nothing is said.
                self.assertEqual(GenerationMode.NEGATIVE, mode)
            except FailureGroup as failures:
                # It is no Exception, which would end all.
                raise AssertionError(failures.message) from None
