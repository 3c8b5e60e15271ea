"""
Webhooks: from a stanza that another component sends to the call that its receiver gets.
"""

from __future__ import annotations

from benchmarks.contestants import CONNECTIONS, callbackOf, calling, delivering
from benchmarks.race import Race, Turn, Turns
from benchmarks.stage import MOD_REST, Stage, domainOf
from benchmarks.table import Claim

CALLBACKS = 100


def direct(stage: Stage) -> Race:
    """
    messages to a callback that is called once for each, in JSON
    """
    return Race(
        turns=directly(stage, CONNECTIONS),
        claims=[
            Claim(of="bridge", to="mod_rest", least=1.5),
            Claim(of="bridge", to="mod_rest", what="p99"),
        ],
        bridge=calling(stage, "calling"),
    )


def durable(stage: Stage) -> Race:
    """
    messages to a callback that is called until it has taken them
    """
    return Race(
        turns={**durably(stage, CONNECTIONS), "bridge, direct": directly(stage, CONNECTIONS)["bridge"]},
        claims=[
            Claim(of="bridge", to="bridge, direct"),
            Claim(of="bridge", to="mod_rest"),
        ],
        bridge=calling(stage, "keeping", delivery="durable"),
    )


def callbacks(stage: Stage) -> Race:
    """
    messages to a callback that is the last of 100, beside one that is alone
    """
    several = [callbackOf(stage, to=[f"other{number}-*@*"]) for number in range(CALLBACKS - 1)]
    choosing = stage.bridge("choosing", stage.prosody, callbacks=[*several, callbackOf(stage)])
    last, alone = f"bridge, {CALLBACKS} callbacks", "bridge, 1 callback"
    return Race(
        turns={
            last: delivering(stage, f"bot@{domainOf('choosing')}", choosing),
            alone: directly(stage, CONNECTIONS)["bridge"],
        },
        claims=[Claim(of=last, to=alone), Claim(of=last, to=alone, what="cpu")],
        bridge=choosing,
    )


def directly(stage: Stage, outstanding: int) -> Turns:
    """
    The bridge and mod_rest, with so many messages on their way.
    """
    bridge = calling(stage, "calling")
    turns = {"bridge": delivering(stage, f"bot@{domainOf('calling')}", bridge, outstanding)}
    return {**turns, **_modRest(stage, outstanding)}


def durably(stage: Stage, outstanding: int) -> Turns:
    """
    The same with a durable callback, which mod_rest doesn't have.
    """
    bridge = calling(stage, "keeping", delivery="durable")
    turns = {"bridge": delivering(stage, f"bot@{domainOf('keeping')}", bridge, outstanding)}
    return {**turns, **_modRest(stage, outstanding)}


def _modRest(stage: Stage, outstanding: int) -> dict[str, Turn]:
    if stage.modRest is None:
        return {}
    return {"mod_rest": delivering(stage, f"bot@{MOD_REST}", outstanding=outstanding)}
