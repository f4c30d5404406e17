"""The `s3` driver: keys are objects of a bucket. Instead of renames, directories and locks: decision 0008."""

from lading.storage.s3.bucket import Options
from lading.storage.s3.driver import S3Storage

__all__ = ["Options", "S3Storage"]
