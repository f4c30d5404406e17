"""The command line: arguments to calls, no logic."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from lading import __version__, build
from lading.commands import (
    api,
    auth,
    collect,
    events,
    manifests,
    migrate,
    quarantine,
    repositories,
    retention,
    tags,
    verify,
)
from lading.commands.remote import arguments
from lading.compose.check import check, servable
from lading.compose.error import BuildError
from lading.config import activation, editor, show
from lading.config.activation import ActivationError
from lading.config.load import BUILT_IN, load
from lading.config.problems import ConfigurationError, printable
from lading.server import processes
from lading.server.listener import ServerError

log = logging.getLogger(__name__)


FILE = "configuration file; else the one REGISTRY_CONFIGURATION_PATH names; else a default for trying out"
SERVED_ALONE = ("log", "http", "access", "tokenservice")
"""The sections that count for a token service without a registry."""
SHELLS = ("bash", "fish", "powershell", "tcsh", "zsh")
FILES = frozenset({"config", "template", "authfile", "paths"})
DIRECTORIES = frozenset({"directory", "cert_dir", "src_cert_dir", "dest_cert_dir"})
"""What shells complete as such, by where arguments go."""
INTERRUPTED = 130
"""The status of a command that Ctrl-C ended, as of what SIGINT kills."""
STRICT = "refuse whatever would be warned about, such as unknown keys and variables"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser(_called()).parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigurationError, ActivationError, BuildError, ServerError) as error:
        print(f"configuration error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
    return 1


def _called() -> str:
    """`registry` where it stands in for the original."""
    return "registry" if os.path.basename(sys.argv[0]) == "registry" else "lading"


def parser_of_lading() -> argparse.ArgumentParser:
    """All commands and options: for tools that make pages of them."""
    return _parser("lading")


def parser_of_registry() -> argparse.ArgumentParser:
    """The same under the original's name."""
    return _parser("registry")


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description="An OCI container registry.")
    # Scripts take the third word of the original's for the version.
    version = f"lading {__version__}" if name == "lading" else f"{name} lading {__version__}"
    parser.add_argument("-v", "--version", action="version", version=version)
    parser.set_defaults(run=lambda _: _help(parser, {}, None))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    help_ = commands.add_parser("help", help="tell how a command is used")
    help_.add_argument("of", nargs="?", metavar="COMMAND")
    help_.set_defaults(run=lambda options: _help(parser, commands.choices, options.of))
    serve = commands.add_parser("serve", help="run the registry")
    serve.add_argument("config", nargs="?", help=FILE)
    serve.add_argument("--workers", type=_positive, help="processes that serve requests (default: one per CPU)")
    serve.add_argument("--strict", action="store_true", help=STRICT)
    serve.set_defaults(run=_serve)
    collect.add(commands)
    events.add(commands)
    repositories.add(commands)
    tags.add(commands)
    manifests.add(commands)
    quarantine.add(commands)
    retention.add(commands)
    verify.add(commands)
    auth.add(commands)
    tokens = commands.add_parser("token-server", help="run the token service alone")
    tokens.add_argument("config", nargs="?", help=FILE)
    tokens.add_argument("--strict", action="store_true", help=STRICT)
    tokens.set_defaults(run=_serve_tokens)
    about = commands.add_parser("config", help="look at a configuration")
    ways = about.add_subparsers(dest="way", metavar="COMMAND", required=True)
    checking = ways.add_parser("check", help="tell what is wrong with it; the exit status is 1 if it cannot serve")
    checking.add_argument("config", nargs="?", metavar="FILE", help=FILE)
    checking.add_argument("--strict", action="store_true", help=STRICT)
    checking.set_defaults(run=_check)
    showing = ways.add_parser("show", help="print what is in effect, and where it comes from; secrets are masked")
    showing.add_argument("config", nargs="?", metavar="FILE", help=FILE)
    showing.add_argument("--json", action="store_true", help="as JSON, an object by key")
    showing.set_defaults(run=_show)
    schema = ways.add_parser("schema", help="print the JSON Schema of the file, for editors")
    schema.set_defaults(run=_schema)
    migrate.add(commands)
    api.add(commands)
    arguments.add(commands, _remote)
    completion = commands.add_parser("completion", help="print what makes a shell complete commands and options")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=lambda options: _complete(parser, options.shell))
    return parser


def _complete(parser: argparse.ArgumentParser, shell: str) -> int:
    import shtab  # nobody who serves needs it

    for action in _actions(parser):
        if action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab is told
        elif action.dest in DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of all commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)


def _remote(options: argparse.Namespace) -> int:
    from lading.commands.remote import actions  # a client costs as much as all the rest, and no server needs it

    return actions.run(options)


def _help(parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser], of: str | None) -> int:
    if of is not None and of not in commands:
        parser.error(f"there is no command {of!r}")
    (parser if of is None else commands[of]).print_help()
    return 0


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, at least 1")
    return int(text)


def _check(options: argparse.Namespace) -> int:
    verdict = check(options.config)
    for problem in verdict.problems:
        print(f"error: {problem}")
    for warning in verdict.warnings:
        print(f"{'error' if options.strict else 'warning'}: {warning}")
    if verdict.problems or (options.strict and verdict.warnings):
        return 1
    print(f"{printable(verdict.source)}: can be served")
    return 0


def _show(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    if options.json:
        print(show.as_json(loaded))
    else:
        print(show.as_yaml(loaded), end="")
    return 0


def _schema(_: argparse.Namespace) -> int:
    print(editor.as_json())
    return 0


def _serve(options: argparse.Namespace) -> int:
    passed = activation.take()
    loaded = servable(options.config, strict=options.strict, addressed=passed.http is not None)
    configuration = loaded.configuration
    trial = loaded.source.startswith(BUILT_IN)
    build.configure_log(configuration)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    if not configuration.http.secret and not trial:
        log.warning(
            "No HTTP secret provided - generated random secret. This may cause problems with uploads if "
            "multiple registries are behind a load-balancer. To provide a shared secret, fill in http.secret "
            "in the configuration file or set the REGISTRY_HTTP_SECRET environment variable."
        )
    if passed.http is not None:
        log.info("Using systemd socket activation instead of any configured network listeners")
    listener = build.listener(configuration, passed)
    roles = build.processes(configuration, listener, build.debug_listener(configuration, passed), options.workers)
    if trial:
        print(
            _welcome(os.path.abspath(str(configuration.storage.parameters.get("rootdirectory"))), listener.port),
            flush=True,
        )
    log.info("listening on %s", listener)
    status = processes.run(roles, drain=listener.drain)
    listener.tidy()
    return status


def _serve_tokens(options: argparse.Namespace) -> int:
    passed = activation.take()
    addressed = passed.http is not None
    loaded = servable(options.config, *SERVED_ALONE, strict=options.strict, addressed=addressed)
    configuration = loaded.configuration
    build.configure_log(configuration)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    listener = build.listener(configuration, passed)
    roles = build.token_server(configuration, listener, 1)
    log.info("listening on %s", listener)
    status = processes.run(roles, drain=listener.drain)
    listener.tidy()
    return status


def _welcome(root: str, port: int) -> str:
    return (
        f"Lading {__version__}, with its default configuration: for trying out, without authentication\n"
        f"  data      {root}\n"
        f"  address   http://localhost:{port}\n"
        f"  push      docker push localhost:{port}/IMAGE\n"
        f"            skopeo copy --dest-tls-verify=false oci:DIRECTORY docker://localhost:{port}/IMAGE\n"
        f"  stop      Ctrl-C"
    )
