"""Blobs that are read often, on a local disk in front of any storage."""

from lading.storage.wrappers.diskcache.driver import DiskCacheStorage

__all__ = ["DiskCacheStorage"]
