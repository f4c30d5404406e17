"""Events as receivers get them: the original's fields in the original's order, or CloudEvents 1.0."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from lading.registry.events import Event, Occasion
from lading.registry.ids import uuid7

Document = dict[str, Any]

MEDIA_TYPE = "application/vnd.docker.distribution.events.v2+json"
CLOUDEVENTS_MEDIA_TYPE = "application/cloudevents+json"
CLOUDEVENTS_BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"

_DESCRIPTOR = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
_ESCAPED = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_INDENT = re.compile(rb"^ +", re.MULTILINE)
_MAX_BITS = 63
_SURROGATE = re.compile("[\ud800-\udfff]")


class Message(NamedTuple):
    """What is sent, and its media type."""

    media_type: str
    body: bytes


def document(event: Event, occasion: Occasion, source: Document, now_ns: int) -> Document:
    """One event; `now_ns` is in nanoseconds since 1970. A new id each time."""
    target: Document = {"mediaType": event.media_type, "digest": event.digest, "size": event.size}
    references = _references(event.content) if event.content else []
    more = {
        "length": event.size,
        "repository": event.repository,
        "fromRepository": event.source,
        "url": event.url,
        "tag": event.tag,
        "references": references,
    }
    request = {"addr": occasion.address, "host": occasion.host}
    return {
        "id": uuid7(now_ns),
        "timestamp": timestamp(now_ns),
        "action": event.action,
        "target": target | _set(more),
        "request": _set({"id": occasion.id} | request) | {"method": occasion.method, "useragent": occasion.agent},
        "actor": _set({"name": occasion.user}),
        "source": source,
    }


def stored(event: Document) -> bytes:
    """As it waits in the journal."""
    try:
        return orjson.dumps(event)
    except TypeError:  # of manifests that the original stored: halves of characters, numbers of more than 64 bits
        return orjson.dumps(_writable(event))


def message(events: Sequence[bytes], *, cloudevents: bool, batch: bool) -> Message:
    """Events from the journal as they are sent; without `batch` it is one."""
    documents = [orjson.loads(event) for event in events]
    if not cloudevents:
        return Message(MEDIA_TYPE, _go({"events": documents}))
    if batch:
        return Message(CLOUDEVENTS_BATCH_MEDIA_TYPE, orjson.dumps([_cloudevent(each) for each in documents]))
    [document] = documents
    return Message(CLOUDEVENTS_MEDIA_TYPE, orjson.dumps(_cloudevent(document)))


def timestamp(now_ns: int) -> str:
    """RFC 3339 in the local zone."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    local = time.localtime(seconds)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    zone = time.strftime("%z", local)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", local)
        + fraction
        + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")
    )


def _cloudevent(event: Document) -> Document:
    """CloudEvents 1.0, JSON format in structured mode. The data is the event of the envelope."""
    target, source = event["target"], event["source"]
    subject = target["repository"]
    if target.get("tag"):
        subject += f":{target['tag']}"
    elif target["digest"]:
        subject += f"@{target['digest']}"
    return {
        "specversion": "1.0",
        "id": event["id"],
        "source": f"/{source.get('addr', '')}",
        "type": f"io.lading.registry.{event['action']}",
        "subject": subject,
        "time": event["timestamp"],
        "datacontenttype": "application/json",
        "data": event,
    }


def _go(value: Document) -> bytes:
    """As Go writes it: indented by three, and fit for a page of HTML."""
    text = _INDENT.sub(_by_three, orjson.dumps(value, option=orjson.OPT_INDENT_2))
    return _ESCAPED.sub(_escaped, text)


def _by_three(indent: re.Match[bytes]) -> bytes:
    return b" " * (len(indent[0]) // 2 * 3)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_writable(key): _writable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_writable(each) for each in value]
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    return float(value) if isinstance(value, int) and value.bit_length() > _MAX_BITS else value


def _set(fields: Document) -> Document:
    return {key: value for key, value in fields.items() if value}


def _references(content: bytes) -> list[Document]:
    """The descriptors of a manifest, config first; of what the original stored some may be strange."""
    try:
        manifest = json.loads(content)
        found = manifest["manifests"] if "manifests" in manifest else [manifest["config"], *manifest["layers"]]
        return [_reference(each) for each in found]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _reference(descriptor: Document) -> Document:
    held = {**descriptor, "platform": _in_order(descriptor.get("platform") or {}, _PLATFORM)}
    held["annotations"] = dict(sorted((descriptor.get("annotations") or {}).items()))
    head = {"mediaType": "", "digest": "", "size": 0}
    return head | _in_order(held, _DESCRIPTOR)


def _in_order(fields: Document, names: tuple[str, ...]) -> Document:
    return {name: fields[name] for name in names if fields.get(name)}
