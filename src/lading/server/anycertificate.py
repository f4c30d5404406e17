"""Client certificates that are asked for, but not verified: what `ssl` cannot express.

`ssl` verifies whatever a client presents. OpenSSL lets a program take the place of the verification; the function
for it is found in the very library that `ssl` uses, and the `SSL_CTX` where CPython keeps it.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys

from lading.server.listener import ServerError

_KNOWN = range(11, 15)
"""Minor versions of CPython 3 whose SSLContext begins with the pointer to its SSL_CTX."""

_CERT_VERIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


_ACCEPT = _CERT_VERIFY(lambda _store, _argument: 1)


def accept_any(context: ssl.SSLContext) -> None:
    """Take every client certificate for verified. That the client has its key is still proven.

    Raises `ServerError` where Python's OpenSSL is out of reach.
    """
    if sys.implementation.name != "cpython" or sys.version_info.minor not in _KNOWN:
        raise ServerError(
            f"http.tls.clientauth: unverified client certificates cannot be had with {sys.implementation.name} "
            f"{sys.version_info.major}.{sys.version_info.minor}"
        )
    # Where _ssl is part of the program, so is OpenSSL; another libssl would not know this context.
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    try:
        options, verify = library.SSL_CTX_get_options, library.SSL_CTX_set_cert_verify_callback
    except AttributeError:
        raise ServerError(
            "http.tls.clientauth: unverified client certificates cannot be had with this Python: its OpenSSL is "
            "hidden within it"
        ) from None
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    options.restype, options.argtypes = ctypes.c_uint64, [ctypes.c_void_p]
    verify.restype, verify.argtypes = None, [ctypes.c_void_p, _CERT_VERIFY, ctypes.c_void_p]
    if not pointer.value or options(pointer) != int(context.options) & 0xFFFFFFFFFFFFFFFF:
        raise ServerError("http.tls.clientauth: unverified client certificates cannot be had with this Python")
    verify(pointer, _ACCEPT, None)
