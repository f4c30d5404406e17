"""The `filesystem` driver."""

from lading.storage.filesystem.driver import FilesystemStorage

__all__ = ["FilesystemStorage"]
