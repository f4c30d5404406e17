"""Events as receivers get them: the original's fields in the original's order, or CloudEvents 1.0."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from lading.registry.events import Event, Occasion

Document = dict[str, Any]

MEDIA_TYPE = "application/vnd.docker.distribution.events.v2+json"
CLOUDEVENTS_MEDIA_TYPE = "application/cloudevents+json"

_DESCRIPTOR = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
_ESCAPED = re.compile("[<>&\u2028\u2029]")


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
        "id": str(uuid.uuid4()),
        "timestamp": timestamp(now_ns),
        "action": event.action,
        "target": target | _set(more),
        "request": _set({"id": occasion.id} | request) | {"method": occasion.method, "useragent": occasion.agent},
        "actor": _set({"name": occasion.user}),
        "source": source,
    }


def envelope(event: Document) -> bytes:
    """What is posted, as Go writes it."""
    return _go({"events": [event]})


def cloudevent(event: Document) -> bytes:
    """CloudEvents 1.0, JSON format in structured mode. The data is the event of the envelope."""
    target, source = event["target"], event["source"]
    subject = target["repository"]
    if target.get("tag"):
        subject += f":{target['tag']}"
    elif target["digest"]:
        subject += f"@{target['digest']}"
    made = {
        "specversion": "1.0",
        "id": event["id"],
        "source": f"/{source.get('addr', '')}",
        "type": f"io.lading.registry.{event['action']}",
        "subject": subject,
        "time": event["timestamp"],
        "datacontenttype": "application/json",
        "data": event,
    }
    return json.dumps(made, ensure_ascii=False).encode()


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


def _go(value: Document) -> bytes:
    text = json.dumps(value, indent=3, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8", "replace")


def _set(fields: Document) -> Document:
    return {key: value for key, value in fields.items() if value}


def _references(content: bytes) -> list[Document]:
    """The descriptors of a manifest, config first; of what the original stored some may be strange."""
    try:
        manifest = json.loads(content)
        found = manifest["manifests"] if "manifests" in manifest else [manifest["config"], *manifest["layers"]]
        return [_reference(each) for each in found]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _reference(descriptor: Document) -> Document:
    held = {**descriptor, "platform": _in_order(descriptor.get("platform") or {}, _PLATFORM)}
    held["annotations"] = dict(sorted((descriptor.get("annotations") or {}).items()))
    head = {"mediaType": "", "digest": "", "size": 0}
    return head | _in_order(held, _DESCRIPTOR)


def _in_order(fields: Document, names: tuple[str, ...]) -> Document:
    return {name: fields[name] for name in names if fields.get(name)}
