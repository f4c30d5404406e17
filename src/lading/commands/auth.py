"""`lading auth`: who may do what, robot accounts, and the keys of the token service."""

from __future__ import annotations

import argparse
import datetime
import re
import time
from collections.abc import Callable
from typing import TypeVar

from lading import build
from lading.auth import robots
from lading.auth.robots import PREFIX, RobotError
from lading.auth.watched import FileError
from lading.compose.error import BuildError
from lading.compose.policy import policy
from lading.config.load import load
from lading.config.models.configuration import Configuration
from lading.registry import audit
from lading.registry.access import DELETE, PULL, PUSH

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
T = TypeVar("T")

_LIFETIME = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("auth", help="who may do what: rules, robot accounts, signing keys")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    explain = _command(actions, "explain", _explain, "say which rule decides")
    explain.add_argument("user", help="a user's name; - for nobody who has signed in")
    explain.add_argument("repository")
    explain.add_argument("what", metavar="action", choices=(PULL, PUSH, DELETE))
    explain.add_argument("--group", action="append", default=[], help="a group the user has from elsewhere")

    robot = actions.add_parser("robot", help="accounts for programs").add_subparsers(
        dest="what", metavar="ACTION", required=True
    )
    create = _command(robot, "create", _create, "make an account; its secret is shown once")
    create.add_argument("name")
    create.add_argument("--expires", type=_lifetime, metavar="TIME", help="such as 90d, 12h; 0d for never")
    create.add_argument("--group", action="append", default=[], help="a group of the rules it is to belong to")
    _command(robot, "list", _list, "all accounts")
    _command(robot, "revoke", _revoke, "remove an account").add_argument("name")

    _command(actions, "rotate-keys", _rotate, "make a new signing key of the token service now")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: object, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text)
    parser.add_argument("--config", help="configuration file, as for serve")
    parser.set_defaults(run=run)
    return parser


def _lifetime(text: str) -> int:
    """Seconds; 0 is for ever."""
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90d, 12h or 30m")
    return int(match[1]) * _UNITS[match[2]]


def _explain(options: argparse.Namespace) -> int:
    configuration = load(options.config).configuration
    rules = policy(configuration)
    user = "" if options.user == "-" else options.user
    if rules is None:
        # What the rest of the configuration means is not for this command to guess.
        print(f"{'yes' if user else 'no'}: there are no access.rules, so whoever signs in may do everything")
        return 0 if user else 1
    groups = {*options.group, *_robot_groups(configuration, user)}
    caller = rules.caller(user, frozenset(groups))
    decision = rules.decide(caller, options.repository, options.what)
    told = f" (groups: {', '.join(sorted(caller.groups))})" if caller.groups else ""
    print(f"{'yes' if decision.allowed else 'no'}: {decision.why}{told}")
    return 0 if decision.allowed else 1


def _robot_groups(configuration: Configuration, user: str) -> frozenset[str]:
    if not configuration.access.robots or not user.startswith(PREFIX):
        return frozenset()
    found = _checked(lambda: robots.load(configuration.access.robots)).get(user.removeprefix(PREFIX))
    return found.groups if found is not None else frozenset()


def _create(options: argparse.Namespace) -> int:
    path = _robots_path(options)
    if options.expires is None:
        raise BuildError("--expires: say for how long the secret is to be good (0d for ever)")
    seconds = options.expires or None
    secret = _checked(lambda: robots.create(path, options.name, time.time(), seconds, frozenset(options.group)))
    audit.record("made robot", robot=options.name, groups=",".join(sorted(options.group)))
    print(f"user      {PREFIX}{options.name}\nsecret    {secret}\nThe secret is not shown again.")
    return 0


def _list(options: argparse.Namespace) -> int:
    now = time.time()
    for robot in sorted(_checked(lambda: robots.load(_robots_path(options))).values(), key=lambda each: each.name):
        state = "never expires" if robot.expires is None else f"expires {_date(robot.expires)}"
        if robot.expired(now):
            state = f"expired {_date(robot.expires or 0)}"
        groups = f"  groups {','.join(sorted(robot.groups))}" if robot.groups else ""
        print(f"{PREFIX}{robot.name}  made {_date(robot.created)}  {state}{groups}")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    path = _robots_path(options)
    _checked(lambda: robots.revoke(path, options.name))
    audit.record("revoked robot", robot=options.name)
    return 0


def _rotate(options: argparse.Namespace) -> int:
    print(f"made key {build.rotate_keys(_configuration(options))}; it signs half an hour from now")
    return 0


def _robots_path(options: argparse.Namespace) -> str:
    path = _configuration(options).access.robots
    if not path:
        raise BuildError("access.robots: is not set; it names the file of robot accounts")
    return path


def _checked(work: Callable[[], T]) -> T:
    """Raises `BuildError` for what the operator can put right."""
    try:
        return work()
    except (FileError, RobotError) as error:
        raise BuildError(str(error)) from None


def _date(moment: int) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%MZ")


def _configuration(options: argparse.Namespace) -> Configuration:
    """With its log, which has the audit lines."""
    configuration = load(options.config).configuration
    build.configure_log(configuration)
    return configuration
