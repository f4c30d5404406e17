"""The `frostfs` driver."""

from lading.storage.frostfs.driver import FrostfsStorage
from lading.storage.frostfs.peer import Address
from lading.storage.frostfs.pool import Timing
from lading.storage.frostfs.wallet import WalletError, load

__all__ = ["Address", "FrostfsStorage", "Timing", "WalletError", "load"]
