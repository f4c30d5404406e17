"""Prints lading-config(5): every key of the configuration, from what `docs/configuration.md` is made of."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import generate

from lading.config.texts import TEXTS


def page(version: str) -> Iterator[str]:
    yield f'.TH LADING\\-CONFIG 5 "" "lading {version}" Lading'
    yield ".SH NAME\nlading\\-config \\- configuration file of the Lading registry"
    yield ".SH DESCRIPTION"
    yield "YAML, as the registry of CNCF Distribution reads it. A variable REGISTRY_\\fIKEY\\fR, in upper case and"
    yield "with underscores for dots, overrides a key. In the names of keys, [] stands for each element of a list"
    yield "and <name> for a name."
    yield ".B lading config check\nsays what is wrong with a file,"
    yield ".B lading config show\nwhat is in effect."
    yield ".SH KEYS"
    for key in generate.all_keys():
        allowed = generate.ALLOWED.get(key.path) or ", ".join(key.words)
        about = [key.type, *([f"default {key.default}"] if key.default else []), *([allowed] if allowed else [])]
        yield f".TP\n.B {roff(key.path)}"
        yield f"({roff('; '.join(about))})"
        yield roff(TEXTS[key.path])
    yield ".SH SEE ALSO\n.BR lading (1)"


def roff(text: str) -> str:
    """A line of text: without the marks of Markdown, and with nothing that starts a request."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("`", "")
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    print("\n".join(page(sys.argv[1])))
