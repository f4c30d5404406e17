"""`log`: the operational log, the access log and their hooks."""

from __future__ import annotations

from typing import Annotated, Literal

from lading.config.models.section import Section, Segment, option
from lading.config.models.values import Flag, Secret, Text, Untyped, one_of

LevelName = Literal["error", "warn", "info", "debug"]
Level = Annotated[
    LevelName,
    one_of(LevelName, "invalid loglevel <x> Must be one of [error, warn, info, debug]", fold=True),
]


class AccessLog(Section):
    disabled: Flag = False


class Smtp(Section):
    addr: Text = ""
    username: Text = ""
    password: Secret = ""
    insecure: Flag = False


class MailOptions(Section):
    smtp: Smtp = option(factory=Smtp)
    sender: Text = option(default="", keys=("from",))
    to: list[Text] = option(factory=list)


class Hook(Section):
    """Something to do for log entries of the listed levels."""

    disabled: Flag = False
    type: Text = ""
    levels: list[Text] = option(factory=list)
    options: Annotated[MailOptions, Segment("MAILOPTIONS")] = option(factory=MailOptions)


class Log(Section):
    """`formatter` is any text here: a name that is not known is refused at start-up only."""

    accesslog: AccessLog = option(factory=AccessLog)
    level: Level = "info"
    formatter: Text = "text"
    fields: dict[str, Untyped] = option(factory=dict)
    hooks: list[Hook] = option(factory=list)
    reportcaller: Flag = False
