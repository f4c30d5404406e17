"""Files to sockets without passing through Python: `sendfile(2)` beside an asyncio transport."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.server.http1 import Connection

SLICE_BYTES = 1024 * 1024
"""What one call may take: bounds how long one client keeps the others waiting."""


async def send_file(connection: Connection, head: bytes, file: int, offset: int, count: int) -> None:
    """Send `head` and `count` bytes of `file`. Raises `BrokenPipeError`, `ConnectionResetError`.

    A second descriptor of the socket is used, because the event loop guards the transport's own.
    """
    await _flush(connection)
    with socket.socket(fileno=os.dup(connection.transport.get_extra_info("socket").fileno())) as sock:
        sock.setblocking(False)
        left = memoryview(head)
        end = offset + count
        while left or offset < end:
            if connection.transport.is_closing():
                raise ConnectionResetError("the connection is closed")
            try:
                if left:
                    left = left[sock.send(left, socket.MSG_MORE) :]
                    continue
                sent = await _send_slice(sock.fileno(), file, offset, min(SLICE_BYTES, end - offset))
            except BlockingIOError:
                await _writable(connection, sock)
                continue
            if sent == 0:
                raise OSError(errno.EIO, "the file is shorter than it was")
            offset += sent
            connection.since = connection.server.clock.now


async def _send_slice(sock: int, file: int, offset: int, size: int) -> int:
    if _in_memory(file, offset):
        return os.sendfile(sock, file, offset, size)
    return await asyncio.to_thread(os.sendfile, sock, file, offset, size)


async def _flush(connection: Connection) -> None:
    """Wait until the transport has nothing left of its own to write."""
    transport = connection.transport
    if transport.get_write_buffer_size() == 0:
        return
    transport.set_write_buffer_limits(high=0)
    try:
        if transport.get_write_buffer_size():
            connection.writable.clear()
            await connection.writable.wait()
    finally:
        transport.set_write_buffer_limits()
    if transport.is_closing():
        raise ConnectionResetError("the connection is closed")


async def _writable(connection: Connection, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connection.writable.clear()
    loop.add_writer(sock.fileno(), connection.writable.set)
    try:
        await connection.writable.wait()
    finally:
        loop.remove_writer(sock.fileno())


def _in_memory(file: int, offset: int) -> bool:
    """Whether the page is cached, so that sending it will not wait for the disk."""
    try:
        return os.preadv(file, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EINVAL}:
            return True  # a file system that cannot tell
        raise
