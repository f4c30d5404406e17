"""What the commands take. Nothing of the client is imported until one of them runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.manifest import Platform
from lading.oci.names import is_tag
from lading.oci.reference import ImageReference, InvalidReferenceError

Run = Callable[[argparse.Namespace], int]

REFERENCE = "such as registry.example/team/app:1.0; without a host it is one of Docker Hub"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], run: Run) -> None:
    for build in (_copy, _inspect, _ls, _retag, _delete, _push, _pull):
        build(commands).set_defaults(run=run)


def _copy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("copy", help="copy an image from one registry to another, or within one")
    parser.add_argument("source", type=_reference, metavar="SOURCE", help=REFERENCE)
    parser.add_argument("target", type=_reference, metavar="TARGET", help="without a tag it gets that of SOURCE")
    _copying(parser)
    for side, name in (("src", "SOURCE"), ("dest", "TARGET")):
        _connection(parser, f"--{side}-", f", for {name} alone")
    _common(parser)
    return parser


def _inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("inspect", help="tell what a reference stands for")
    parser.add_argument("reference", type=_reference, metavar="REFERENCE", help=REFERENCE)
    parser.add_argument("--raw", action="store_true", help="print the manifest as it is, byte for byte")
    parser.add_argument("--config", action="store_true", help="print the image's config as it is")
    parser.add_argument("--platform", type=_platform, metavar="OS/ARCH[/VARIANT]", help="that image of an index")
    parser.add_argument("--referrers", action="store_true", help="list what refers to it, too")
    _common(parser)
    return parser


def _ls(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("ls", help="list the tags of a repository, or the repositories of a registry")
    parser.add_argument(
        "place", metavar="HOST|REPOSITORY", help="such as localhost:5000, or localhost:5000/team/app"
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="no more than so many")
    _common(parser)
    return parser


def _retag(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("retag", help="give what is in a repository another tag")
    parser.add_argument("reference", type=_reference, metavar="REFERENCE", help=REFERENCE)
    parser.add_argument("tags", type=_tag, nargs="+", metavar="TAG", help="in the same repository")
    _common(parser)
    return parser


def _delete(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("delete", help="delete a tag, or by digest a manifest with all its tags")
    parser.add_argument("reference", type=_reference, metavar="REFERENCE", help="with a tag or a digest")
    _common(parser)
    return parser


def _push(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("push", help="push an OCI image layout, or files as an artifact")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a layout's directory, or files FILE[:MEDIA-TYPE]"
    )
    parser.add_argument("reference", type=_reference, metavar="REFERENCE", help=REFERENCE)
    parser.add_argument("--image", default="", metavar="NAME", help="which of the layout: a tag or a digest")
    parser.add_argument("--artifact-type", default="", metavar="TYPE", help="push files; what they are")
    parser.add_argument(
        "--annotation", type=_annotation, action="append", default=[], metavar="KEY=VALUE", help="of the artifact"
    )
    parser.add_argument(
        "--subject",
        type=_target,
        metavar="TAG|DIGEST",
        help="what the artifact refers to, in the same repository",
    )
    _copying(parser)
    _common(parser)
    return parser


def _pull(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("pull", help="pull into an OCI image layout, or the files of an artifact")
    parser.add_argument("reference", type=_reference, metavar="REFERENCE", help=REFERENCE)
    parser.add_argument("directory", metavar="DIRECTORY", help="made if it is not there")
    parser.add_argument("--files", action="store_true", help="write the files of an artifact, not a layout")
    parser.add_argument("--overwrite", action="store_true", help="with --files: also over files that are there")
    _copying(parser)
    _common(parser)
    return parser


def _copying(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--platform", type=_platform, metavar="OS/ARCH[/VARIANT]", help="that image of an index")
    parser.add_argument("--referrers", action="store_true", help="with what refers to it, such as signatures")
    parser.add_argument("--parallel", type=_positive, default=4, metavar="N", help="blobs at once (default: 4)")


def _common(parser: argparse.ArgumentParser) -> None:
    _connection(parser, "--", "")
    parser.add_argument("--authfile", metavar="FILE", help="of logins, as docker and podman write it")
    parser.add_argument(
        "--token-server",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="of another domain than the registry's, that may see the login",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _connection(parser: argparse.ArgumentParser, prefix: str, of: str) -> None:
    parser.add_argument(
        f"{prefix}plain-http", action="store_true", default=None, help=f"talk HTTP without TLS{of}"
    )
    parser.add_argument(
        f"{prefix}tls-verify", type=_truth, metavar="true|false", help=f"whether to check certificates{of}"
    )
    parser.add_argument(
        f"{prefix}cert-dir", metavar="DIR", help=f"of *.crt authorities and a client's *.cert and *.key{of}"
    )
    parser.add_argument(
        f"{prefix}creds", type=_login, metavar="USER:PASSWORD", help=f"in place of the authfile{of}"
    )


def reference_of(text: str) -> ImageReference:
    """Of something that can be asked. Raises `InvalidReferenceError`."""
    reference = ImageReference.normalize(text)
    port = re.search(r":(\d+)\Z", reference.domain)
    if port is not None and (len(port[1]) > 5 or int(port[1]) > 65535):
        raise InvalidReferenceError(f"{text!r}: there is no port {port[1]}")
    return reference


def _reference(text: str) -> ImageReference:
    try:
        return reference_of(text)
    except InvalidReferenceError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _target(text: str) -> str:
    if not is_tag(text):
        try:
            return Digest.parse(text)
        except InvalidDigestError as error:
            raise argparse.ArgumentTypeError(f"{text[:160]!r} is no tag, and no digest: {error}") from error
    return text


def _tag(text: str) -> str:
    if not is_tag(text):
        raise argparse.ArgumentTypeError(f"{text[:160]!r} is no tag")
    return text


def _platform(text: str) -> Platform:
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no platform, such as linux/amd64 or linux/arm/v7")
    return Platform(parts[0], parts[1], parts[2] if len(parts) == 3 else "")


def _login(text: str) -> tuple[str, str]:
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise argparse.ArgumentTypeError("must be USER:PASSWORD")
    return username, password


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, at least 1")
    return int(text)
