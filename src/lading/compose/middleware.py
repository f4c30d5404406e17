"""What `middleware.storage` puts around the storage, from the inside to the outside."""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lading.compose import extensions
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration, Middleware
from lading.config.models.middleware import (
    OPTIONS,
    CloudfrontOptions,
    DiskcacheOptions,
    RedirectOptions,
    RewriteOptions,
)
from lading.registry import layout
from lading.registry.ports import Storage
from lading.storage.wrappers.addresses import PublishedRanges
from lading.storage.wrappers.cloudfront import CloudfrontStorage, Signer
from lading.storage.wrappers.diskcache import DiskCacheStorage
from lading.storage.wrappers.redirect import RedirectStorage, RewriteStorage

REDIRECTING = ("redirect", "cloudfront")

NameOf = Callable[[str], str]


def wrapped(configuration: Configuration, storage: Storage, name_of: NameOf | None) -> Storage:
    """`name_of` tells what an object is called in the bucket, if there is one. Raises `BuildError`."""
    cached = ""
    for index, element in enumerate(configuration.middleware.get("storage", [])):
        if element.disabled:
            continue
        place = f"middleware.storage[{index}]"
        if cached and element.name in REDIRECTING and not configuration.storage.redirect.disable:
            raise BuildError(f"{place}: {element.name} sends clients past {cached}, which would never be used")
        if element.name == "diskcache":
            cached = f"the diskcache of {place}"
        storage = _wrap(element, storage, place, name_of)
    return storage


def _wrap(element: Middleware, storage: Storage, place: str, name_of: NameOf | None) -> Storage:
    if element.name not in OPTIONS:
        return _foreign(element, storage, place)
    try:
        options = OPTIONS[element.name].of(element.options)
    except ValueError as error:
        raise BuildError(f"{place}.options.{error}") from None
    match options:
        case RedirectOptions():
            return RedirectStorage(storage, options.baseurl)
        case RewriteOptions():
            return RewriteStorage(storage, options.scheme, options.host, options.trimpathprefix)
        case CloudfrontOptions():
            return _cloudfront(options, storage, place, name_of)
        case DiskcacheOptions():
            _check_directory(options.directory, place)
            return DiskCacheStorage(storage, options.directory, options.size, layout.blob_of)
    raise AssertionError(element.name)


def _foreign(element: Middleware, storage: Storage, place: str) -> Storage:
    factory = extensions.find(extensions.MIDDLEWARE, element.name, f"{place}.name")
    if factory is None:
        known = ", ".join([*OPTIONS, *extensions.names(extensions.MIDDLEWARE)])
        raise BuildError(
            f"{place}.name: unable to configure storage middleware ({element.name}): no storage middleware"
            f" registered with name: {element.name}; known are {known}; more come with distributions that have"
            f" entry points of {extensions.MIDDLEWARE}"
        )
    return extensions.make(f"{place}.options", factory, storage, element.options)


def _cloudfront(options: CloudfrontOptions, storage: Storage, place: str, name_of: NameOf | None) -> Storage:
    if name_of is None:
        raise BuildError(f"{place}: the CloudFront middleware does not support this backend storage driver")
    direct = None
    if options.ipfilteredby != "none":
        regions = frozenset(options.awsregion) if options.ipfilteredby == "awsregion" else None
        direct = PublishedRanges(options.iprangesurl, regions, options.updatefrequency)
    signer = Signer(_key(options.privatekey, f"{place}.options.privatekey"), options.keypairid, options.duration)
    try:
        signer.sign(options.baseurl)
    except UnsupportedAlgorithm as error:
        raise BuildError(f"{place}: this system's OpenSSL does not sign with SHA-1: {error}") from error
    return CloudfrontStorage(storage, options.baseurl, name_of, signer, direct)


def _key(path: str, place: str) -> RSAPrivateKey:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise BuildError(f"{place}: failed to read privatekey file: {path!r}: {error.strerror}") from None
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise BuildError(f"{place}: failed to decode private key as an rsa private key: {path!r}")
    return key


def _check_directory(directory: str, place: str) -> None:
    """It is made when it is first used."""
    place = f"{place}.options.directory"
    if not os.path.isabs(directory):
        raise BuildError(f"{place}: {directory!r} is not an absolute path")
    there = directory
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise BuildError(f"{place}: {there!r} is not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BuildError(f"{place}: {there!r}: Permission denied")
