"""The cache of descriptors that registries share, in redis."""

from lading.redis.connecting import Options, connect
from lading.redis.descriptors import RedisDescriptors

__all__ = ["Options", "RedisDescriptors", "connect"]
