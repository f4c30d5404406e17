"""What stops the making of a registry from its configuration."""

from __future__ import annotations


class BuildError(Exception):
    """The configuration cannot be made into a registry; the text names the key at fault."""
