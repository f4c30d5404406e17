"""`access`: who may do what, for users of a password file and of tokens alike. Lading's own section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lading.config.models.values import Lists, Section, Text, one_of

Action = Literal["pull", "push", "delete", "*"]


class AccessRule(Section):
    """All three lists must have entries."""

    repositories: list[Text] = Field(default_factory=list)
    actions: list[Annotated[Action, one_of(Action, "unknown action <x> (allowed: pull, push, delete, *)")]] = (
        Field(default_factory=list)
    )
    who: list[Text] = Field(default_factory=list)


class AccessControl(Section):
    """Without `rules` whoever signs in may do everything; with an empty list nobody may do anything."""

    rules: list[AccessRule] | None = None
    groups: Lists[Text] = Field(default_factory=dict)
    readonly: list[Text] = Field(default_factory=list)
    robots: Text = ""
