"""`access`: who may do what, for users of a password file and of tokens alike. Lading's own section."""

from __future__ import annotations

from typing import Annotated, Literal

from lading.config.models.section import Section, option
from lading.config.models.values import Lists, Text, one_of

Action = Literal["pull", "push", "delete", "*"]


class AccessRule(Section):
    """All three lists must have entries."""

    repositories: list[Text] = option(factory=list)
    actions: list[Annotated[Action, one_of(Action, "unknown action <x> (allowed: pull, push, delete, *)")]] = (
        option(factory=list)
    )
    who: list[Text] = option(factory=list)


class AccessControl(Section):
    """Without `rules` whoever signs in may do everything; with an empty list nobody may do anything."""

    rules: list[AccessRule] | None = None
    groups: Lists[Text] = option(factory=dict)
    readonly: list[Text] = option(factory=list)
    robots: Text = ""
