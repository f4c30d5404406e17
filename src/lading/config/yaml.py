"""A YAML document as a tree that remembers where everything was written, and how.

Values keep their original text beside what it resolves to, because a field of the schema that holds text takes
`0123` or `yes` as written. Built from the parser's events, so that aliases, depth and duplicates are bounded
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from lading.config.problems import Path, Place
from lading.config.scalars import Value, resolve

MAX_DEPTH = 100
MAX_ALIASED = 100_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is missing from some builds of PyYAML
_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {
    _TAG + "int": (int,),
    _TAG + "float": (float, int),
    _TAG + "bool": (bool,),
    _TAG + "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: the text as written, and what it resolves to; for quoted values that is the text too."""

    text: str
    value: Value
    place: Place


@dataclass(slots=True)
class MapNode:
    """Keys are the texts of their scalars, the last of duplicates wins. `keys` has where they stand."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class ListNode:
    place: Place
    items: list[Node] = field(default_factory=list)


Node = Scalar | MapNode | ListNode


class YamlError(Exception):
    """The text is not a YAML document this dialect accepts."""

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(place, what)
        self.place = place
        self.what = what


def compose(text: str | bytes, source: str, *, lines: bool = True) -> Node | None:
    """The first document, None if it is empty. Without `lines` every place is just `source`."""
    composer = _Composer(source, lines)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentEndEvent):
                break
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(composer.place(mark), f"not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeError):
        raise YamlError(Place(source), "not valid YAML: not UTF-8, or with control characters") from None
    return composer.root


def is_null(node: object) -> bool:
    return isinstance(node, Scalar) and node.value is None


def named(node: Node) -> Node:
    """A bare word stands for a map with that one key, where the schema says so: `storage: inmemory`."""
    if isinstance(node, Scalar) and node.value is not None:
        return MapNode(node.place, {node.text: Scalar("", None, node.place)})
    return node


def locate(tree: Node, path: Path) -> Place:
    """Where `path` was written, or the nearest thing around it."""
    node = tree
    for step in path:
        if isinstance(node, MapNode) and isinstance(step, str) and step in node.entries:
            node = node.entries[step]
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.place


class _Composer:
    """Builds the tree from a stream of parser events."""

    def __init__(self, source: str, lines: bool) -> None:
        self.root: Node | None = None
        self._source = source
        self._lines = lines
        self._anchors: dict[str, Node] = {}
        self._aliased = 0
        self._open: list[_Open] = []

    def place(self, mark: Any) -> Place:
        if not self._lines or mark is None:
            return Place(self._source)
        return Place(self._source, mark.line + 1, mark.column + 1)

    def take(self, event: yaml.Event) -> None:
        place = self.place(event.start_mark)
        match event:
            case yaml.ScalarEvent():
                plain = event.implicit[0] and event.tag is None
                node = Scalar(event.value, _value(event, place), place)
                self._anchor(event, node)
                self._add(node, is_merge=plain and event.value == "<<")
            case yaml.MappingStartEvent():
                self._start(_Open(MapNode(place), event))
            case yaml.SequenceStartEvent():
                self._start(_Open(ListNode(place), event))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                done.merge()
                self._anchor(done.event, done.node)
                self._add(done.node)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise YamlError(place, "an alias (*) to an anchor (&) that is not defined before it")
                self._add(self._copy(self._anchors[event.anchor], len(self._open)))

    def _start(self, frame: _Open) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise YamlError(frame.node.place, f"nested more than {MAX_DEPTH} levels deep")
        self._open.append(frame)

    def _anchor(self, event: Any, node: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _add(self, node: Node, *, is_merge: bool = False) -> None:
        if self._open:
            self._open[-1].add(node, is_merge=is_merge)
        else:
            self.root = node

    def _copy(self, node: Node, depth: int) -> Node:
        """Overrides change the tree in place, so no two places of it may share a node."""
        self._aliased += 1
        if self._aliased > MAX_ALIASED or depth > MAX_DEPTH:
            raise YamlError(node.place, "document contains excessive aliasing")
        match node:
            case Scalar():
                return node
            case MapNode():
                entries = {k: self._copy(v, depth + 1) for k, v in node.entries.items()}
                return MapNode(node.place, entries, dict(node.keys))
            case ListNode():
                return ListNode(node.place, [self._copy(item, depth + 1) for item in node.items])


class _Open:
    """A mapping or sequence whose end is still to come."""

    def __init__(self, node: MapNode | ListNode, event: Any) -> None:
        self.node = node
        self.event = event
        self._key: Scalar | None = None
        self._key_is_merge = False
        self._merges: list[Node] = []

    def add(self, node: Node, *, is_merge: bool) -> None:
        if isinstance(self.node, ListNode):
            self.node.items.append(node)
        elif self._key is None:
            if not isinstance(node, Scalar):
                raise YamlError(node.place, "a key must be a single value")
            self._key, self._key_is_merge = node, is_merge
        else:
            if self._key_is_merge:
                self._merges.append(node)
            else:
                self.node.entries[self._key.text] = _at(node, self._key.place)
                self.node.keys[self._key.text] = self._key.place
            self._key = None

    def merge(self) -> None:
        """`<<` adds what is not written beside it; of several maps the first has its say."""
        if not isinstance(self.node, MapNode):
            return
        for source in self._merges:
            for part in source.items if isinstance(source, ListNode) else [source]:
                if not isinstance(part, MapNode):
                    raise YamlError(part.place, "map merge requires map or sequence of maps as the value")
                for key, value in part.entries.items():
                    self.node.entries.setdefault(key, value)
                    self.node.keys.setdefault(key, part.keys.get(key, value.place))


def _at(node: Node, place: Place) -> Node:
    """What belongs to a key is looked for on the line of the key, even if its value starts on a later one."""
    if isinstance(node, Scalar):
        if node.place.line == place.line:
            return node
        return Scalar(node.text, node.value, place)
    node.place = place
    return node


def _value(event: Any, place: Place) -> Value:
    if event.tag is None and event.implicit[0]:
        return resolve(event.value)
    allowed = _TAGGED.get(event.tag)
    if allowed is None:
        return str(event.value)
    value = resolve(event.value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise YamlError(place, f"the tag !!{event.tag.removeprefix(_TAG)} does not fit its value")
    return value
