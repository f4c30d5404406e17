"""The command line: arguments to calls, no logic."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from lading import __version__, build
from lading.commands import auth
from lading.compose.error import BuildError
from lading.config.load import BUILT_IN, Loaded, load
from lading.config.problems import ConfigurationError
from lading.config.supported import unsupported
from lading.operations import logging as operations_logging
from lading.server import processes
from lading.server.listener import ServerError

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lading", description="An OCI container registry.")
    parser.add_argument("-v", "--version", action="version", version=f"lading {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="run the registry")
    serve.add_argument(
        "config",
        nargs="?",
        help="configuration file; else the one REGISTRY_CONFIGURATION_PATH names; else a default for trying out",
    )
    serve.add_argument("--workers", type=_positive, help="processes that serve requests (default: one per CPU)")
    auth.add(commands)
    tokens = commands.add_parser("token-server", help="run the token service alone")
    tokens.add_argument("config", nargs="?", help="configuration file, as for serve")
    tokens.set_defaults(run=_serve_tokens)
    options = parser.parse_args(arguments)
    try:
        if "run" in options:
            status: int = options.run(options)
            return status
        return _serve(load(options.config), options.workers)
    except (ConfigurationError, BuildError, ServerError) as error:
        print(f"configuration error: {error}", file=sys.stderr)
    return 1


def _serve_tokens(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    configuration = loaded.configuration
    if problems := unsupported(configuration, "log", "http"):
        raise ConfigurationError(loaded.source, problems)
    operations_logging.configure(
        configuration.log.level, configuration.log.formatter or "text", configuration.log.fields
    )
    roles = build.token_server(configuration, None)
    listener = build.listener(configuration)
    log.info("listening on %s", listener)
    status = processes.run(roles, drain=listener.drain)
    listener.tidy()
    return status


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, at least 1")
    return int(text)


def _serve(loaded: Loaded, workers: int | None) -> int:
    configuration = loaded.configuration
    trial = loaded.source.startswith(BUILT_IN)
    problems = unsupported(configuration)
    if problems:
        raise ConfigurationError(loaded.source, problems)
    operations_logging.configure(
        configuration.log.level, configuration.log.formatter or "text", configuration.log.fields
    )
    for warning in loaded.warnings:
        log.warning("%s", warning)
    if not configuration.http.secret and not trial:
        log.warning(
            "No HTTP secret provided - generated random secret. This may cause problems with uploads if "
            "multiple registries are behind a load-balancer. To provide a shared secret, fill in http.secret "
            "in the configuration file or set the REGISTRY_HTTP_SECRET environment variable."
        )
    listener = build.listener(configuration)
    roles = build.processes(configuration, workers)
    if trial:
        print(
            _welcome(os.path.abspath(str(configuration.storage.parameters.get("rootdirectory"))), listener.port),
            flush=True,
        )
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
