"""`REGISTRY_*` variables, applied to the tree of a document.

`REGISTRY_HTTP_TLS_CLIENTCAS_0=/ca.pem` is `http.tls.clientcas[0]`. A value is YAML, except that where the
schema holds text, what is not a YAML text is taken as it stands. A variable named like a text field with
`_FILE` behind it holds the path of a file with the text. Parents are applied before their children, and
elements of a list in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lading.config.kinds import Kind, Leaf, ListOf, MapOf, Struct
from lading.config.problems import Path, Place, Refusal, dotted, printable
from lading.config.yaml import ListNode, MapNode, Node, Scalar, YamlError, compose, is_null, named

CONFIGURATION_PATH = "CONFIGURATION_PATH"
_OTHERS = frozenset({CONFIGURATION_PATH, "AUTH_FILE"})
"""What is no key: where the file is, and where podman, skopeo and `lading push` find logins."""

_MAX_INDEX_DIGITS = 9


@dataclass(slots=True)
class Outcome:
    """What is to be said about the variables. Warnings are lines."""

    warnings: list[str] = field(default_factory=list)
    problems: list[Refusal] = field(default_factory=list)


class _Ignored(Exception):  # noqa: N818 - not an error: the variable says nothing the schema knows
    """The variable reaches nothing; the text, if any, says why."""


class _Refused(Exception):  # noqa: N818 - becomes a line of a ConfigurationError
    """The variable cannot be applied."""


def apply(root: MapNode, kind: Struct, environ: Mapping[str, str], prefix: str = "REGISTRY") -> Outcome:
    """Changes `root`. Variables that match nothing are warned about; one that is refused changes nothing."""
    outcome = Outcome()
    start = f"{prefix}_"
    names = [name for name in environ if name.startswith(start) and name.removeprefix(start) not in _OTHERS]
    split = {name: name.removeprefix(start).split("_") for name in names}
    for name in sorted(names, key=lambda name: [_order(segment) for segment in split[name]]):
        variable = _Variable(name, environ[name])
        try:
            variable.place(kind, root, split[name])
        except _Ignored as ignored:
            outcome.warnings.append(variable.warning(str(ignored)))
        except _Refused as reason:
            outcome.problems.append(Refusal(Place(name), variable.path, str(reason)))
    return outcome


def _order(segment: str) -> tuple[bool, int, str]:
    return (True, int(segment), segment) if _is_index(segment) else (False, 0, segment)


def _is_index(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and len(segment) <= _MAX_INDEX_DIGITS


class _Variable:
    """One variable on its way to its place in the tree.

    Each step is given what stands there (None for nothing) and returns what shall stand there, so that a
    variable that fails half way leaves no trace.
    """

    def __init__(self, name: str, value: str) -> None:
        self.path: Path = ()
        self._name = name
        self._value = value
        self._place = Place(name)

    def warning(self, reason: str) -> str:
        if not reason:
            return printable(f"Ignoring unrecognized environment variable {self._name}")
        return printable(f"Ignoring environment variable {self._name}: {dotted(self.path)} {reason}")

    def place(self, kind: Kind, node: Node | None, segments: list[str]) -> Node:
        if not segments:
            return self._decode(kind)
        if not all(segments):
            raise _Ignored
        match kind:
            case Struct():
                return self._in_struct(kind, self._map(node), segments)
            case MapOf():
                return self._in_map(kind, self._map(named(node) if kind.word and node else node), segments)
            case ListOf():
                return self._in_list(kind, node, segments)
            case Leaf.ANY if isinstance(node, ListNode):
                return self._in_list(ListOf(Leaf.ANY), node, segments)
            case Leaf.ANY if node is None or is_null(node) or isinstance(node, MapNode):
                return self._in_map(MapOf(Leaf.ANY), self._map(node), segments)
            case Leaf.TEXT if segments == ["FILE"]:
                return self._read_file()
        raise _Ignored("holds a value, and nothing lies below it")

    def _map(self, node: Node | None) -> MapNode:
        if isinstance(node, MapNode):
            return node
        if node is None or is_null(node):
            return MapNode(self._place)
        raise _Ignored("is not a mapping")

    def _in_struct(self, kind: Struct, node: MapNode, segments: list[str]) -> Node:
        head, *rest = segments
        if kind.group is not None:
            head = head.upper()
            if head == kind.group:
                return self._in_struct(kind, node, rest) if rest else self._group(kind, node)
        key = kind.segments.get(head)
        if key is None:
            raise _Ignored
        return self._set(node, key, kind.fields[key], rest)

    def _group(self, kind: Struct, node: MapNode) -> Node:
        """The whole inline group at once: its fields, but not the sections beside them."""
        given = self._decode(kind)
        if not isinstance(given, MapNode):
            raise _Refused("must be a mapping")
        kept = {key: value for key, value in node.entries.items() if isinstance(kind.fields.get(key), Struct)}
        return MapNode(node.place, {**kept, **given.entries}, node.keys)

    def _in_map(self, kind: MapOf, node: MapNode, segments: list[str]) -> Node:
        """The most segments that name something known win: keys may hold `_`, and any case."""
        for used in range(len(segments), 0, -1):
            wanted = "_".join(segments[:used]).lower()
            for key in (*node.entries, *kind.fixed):
                if key.lower() == wanted:
                    return self._set(node, key, kind.fixed.get(wanted, kind.item), segments[used:])
        return self._set(node, segments[0].lower(), kind.item, segments[1:])

    def _set(self, node: MapNode, key: str, kind: Kind, rest: list[str]) -> Node:
        self.path = [*self.path, key]
        node.entries[key] = self.place(kind, node.entries.get(key), rest)
        return node

    def _in_list(self, kind: ListOf, node: Node | None, segments: list[str]) -> Node:
        head, *rest = segments
        if node is None or is_null(node):
            node = ListNode(self._place)
        if not isinstance(node, ListNode):
            raise _Ignored("is not a list")
        if not _is_index(head):
            raise _Refused(f"non-numeric index: {head}")
        index = int(head)
        if index > len(node.items):
            raise _Refused(f"undefined index: {index} (the list has {len(node.items)} elements)")
        self.path = [*self.path, index]
        element = self.place(kind.item, node.items[index] if index < len(node.items) else None, rest)
        node.items[index : index + 1] = [element]
        return node

    def _decode(self, kind: Kind) -> Node:
        try:
            node = compose(self._value, self._name, lines=False)
        except YamlError as error:
            if kind is not Leaf.TEXT:
                raise _Refused(error.what) from None
            node = None
        if kind is Leaf.TEXT:
            return self._text(node)
        return Scalar("", None, self._place) if node is None else node

    def _text(self, node: Node | None) -> Scalar:
        """The text as YAML has it, or, if YAML makes no text of it (`@a`, `a: b`, `#a`), as it stands."""
        if isinstance(node, Scalar):
            return Scalar(node.text, None if node.value is None else node.text, self._place)
        return Scalar(self._value, self._value if self._value.strip() else None, self._place)

    def _read_file(self) -> Node:
        """No complaint shows the path: it may be the secret itself, given by mistake."""
        try:
            with open(self._text(self._decode(Leaf.TEXT)).text, encoding="utf-8") as file:
                text = file.read().rstrip("\r\n")
        except OSError as error:
            raise _Refused(f"cannot read the file it names: {error.strerror}") from None
        except ValueError:
            raise _Refused("the file it names is not UTF-8 text") from None
        return Scalar(text, text, self._place)
