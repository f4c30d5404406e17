"""What the drivers of object stores share: `lading.registry.ports.Storage` over a flat store of named objects.

A driver brings a `Bucket`: a dozen requests that its store answers. Everything here needs only this of a store:
what was written is seen at once by everybody, and an object can be created only where none is, or replaced and
removed only where it is still the one that was seen.

- Keys are names: a prefix, and the key without its first slash. Directories are what names have in common.
- Whoever writes an upload, or holds a directory, says so in an object whose name is no key (`~lading/…`), and
  renews it; if that is not done for a while by the store's clock, the next one takes over. Whoever writes does so
  upon the version that it knows: who was taken for dead and is not can change nothing any more.
- Objects are read in blocks, the next one while the last is sent; a reader never mixes two versions of one.
- A small object that was never sent in part is put under its target at once: nothing is copied.
"""

from lading.storage.objects.bucket import ChangedError, Found, Pending
from lading.storage.objects.driver import ObjectStorage

__all__ = ["ChangedError", "Found", "ObjectStorage", "Pending"]
