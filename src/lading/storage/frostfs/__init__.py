"""The `frostfs` driver."""

from lading.storage.frostfs.driver import FrostfsStorage
from lading.storage.frostfs.identifiers import container_id
from lading.storage.frostfs.pool import Address, Timing
from lading.storage.frostfs.wallet import WalletError, load

__all__ = ["Address", "FrostfsStorage", "Timing", "WalletError", "container_id", "load"]
