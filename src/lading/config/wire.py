"""From the shape of the file to that of the models: `storage` and `auth` name their type by a key."""

from __future__ import annotations

from dataclasses import dataclass, field

from lading.config.problems import Path, Place, Refusal
from lading.config.schema import STORAGE_SECTIONS
from lading.config.yaml import ListNode, MapNode, Node, Scalar, is_null, named

Fields = dict[str, object]


@dataclass(slots=True)
class Arranged:
    """Input for `Configuration`. A section with a problem is left out."""

    fields: Fields
    problems: list[Refusal] = field(default_factory=list)

    def refuse(self, place: Place, path: Path, what: str) -> None:
        self.problems.append(Refusal(place, path, what))


def arrange(root: MapNode) -> Arranged:
    result = Arranged({k: skeleton(v) for k, v in root.entries.items() if k not in ("storage", "auth")})
    storage = _storage(result, root.entries.get("storage", Scalar("", None, root.place)))
    if storage is not None:
        result.fields["storage"] = storage
    auth = root.entries.get("auth")
    if auth is not None and not is_null(auth):
        result.fields["auth"] = _auth(result, auth)
    return result


def skeleton(node: Node) -> object:
    """Plain dicts and lists, with the scalars as they are in the tree."""
    match node:
        case MapNode():
            return {key: skeleton(value) for key, value in node.entries.items()}
        case ListNode():
            return [skeleton(item) for item in node.items]
    return node


def _storage(result: Arranged, node: Node) -> Fields | None:
    found = named(node)
    if isinstance(found, ListNode):
        result.refuse(node.place, ["storage"], "must be a driver's name, or a mapping of one driver")
        return None
    entries = found.entries if isinstance(found, MapNode) else {}
    drivers = {name: value for name, value in entries.items() if name not in STORAGE_SECTIONS}
    for name, value in drivers.items():
        _check_parameters(result, ["storage", name], value)
    if len(drivers) != 1:
        _refuse_drivers(result, node.place, drivers)
        return None
    [(driver, parameters)] = drivers.items()
    fields: Fields = {name: skeleton(value) for name, value in entries.items() if name in STORAGE_SECTIONS}
    return {"driver": driver, "parameters": _parameters(parameters), **fields}


def _refuse_drivers(result: Arranged, place: Place, drivers: dict[str, Node]) -> None:
    overrides = [value.place for value in drivers.values() if not value.place.line]
    if not drivers:
        what = "no storage configuration provided"
    elif overrides:
        place = overrides[0]
        names = ", ".join(sorted(drivers))
        what = f"multiple storage drivers specified in configuration or environment: {names}"
    else:
        what = f"must provide exactly one storage type. Provided: [{' '.join(drivers)}]"
    result.refuse(place, ["storage"], what)


def _auth(result: Arranged, node: Node) -> Fields:
    found = named(node)
    if not isinstance(found, MapNode):
        result.refuse(node.place, ["auth"], "must be a type's name, or a mapping of one type")
        return {}
    for name, value in found.entries.items():
        _check_parameters(result, ["auth", name], value)
    written = [name for name, value in found.entries.items() if value.place.line]
    if len(written) > 1:
        result.refuse(node.place, ["auth"], f"must provide exactly one type. Provided: [{' '.join(written)}]")
    if not found.entries:
        return {}
    first, *others = found.entries
    return {"type": first, "parameters": _parameters(found.entries[first]), "surplus": others}


def _check_parameters(result: Arranged, path: Path, node: Node) -> None:
    if not isinstance(node, MapNode) and not is_null(node):
        result.refuse(node.place, path, "must be a mapping of parameters")


def _parameters(node: Node) -> object:
    return skeleton(node) if isinstance(node, MapNode) else {}
