#!/usr/bin/env python3
"""Calls the file manager of a gaia host: a call, many at once, a stream, and errors.

    python3 examples/clients/python/example.py [SOCKET]
"""

import hashlib
import sys
import time
from concurrent import futures

import grpc

import gaia_client


def politely(call, **fields):
    """Calls, and again when it was told to come back later: a rate, a full queue, or an
    instance that is being started. Nothing else is worth repeating."""
    while True:
        try:
            return call(**fields)
        except grpc.RpcError as error:
            delay = gaia_client.retry_delay(error)
            if delay is None:
                raise
            time.sleep(delay)


host = gaia_client.Host(sys.argv[1] if len(sys.argv) > 1 else "run/gaia.sock")
files = host.subsystem("file_manager", "gaia.file.v1.FileManager")

# A call with a deadline, which counts from here: the host's queues are part of it.
entry = files.WriteFile(root="workspace", path="clients-python.bin", content=bytes(3 << 20), timeout=5).entry
print("wrote %d bytes, etag %s" % (entry.size, entry.etag))

# Many at once, over the one connection.
with futures.ThreadPoolExecutor(16) as threads:
    began = time.monotonic()
    calls = [threads.submit(politely, files.Stat, root="workspace", path="clients-python.bin") for _ in range(200)]
    for call in calls:
        call.result()
    print("%d calls in %.0f ms" % (len(calls), (time.monotonic() - began) * 1000))

# A stream out of the host, and one into it: a dict for each message.
sha256, size = hashlib.sha256(), 0
for piece in files.Read(root="workspace", path="clients-python.bin"):
    sha256.update(piece.content)
    size += len(piece.content)
print("read %d bytes, sha256 %s" % (size, sha256.hexdigest()))
pieces = [{"root": "workspace", "path": "clients-python.txt"}, {"content": b"piece by "}, {"content": b"piece"}]
print("wrote %d bytes in pieces" % files.Write(pieces).entry.size)

# An error is a gRPC status: a code to branch on, a text for people, and details.
try:
    files.Stat(root="workspace", path="no/such/file")
except grpc.RpcError as error:
    if error.code() != grpc.StatusCode.NOT_FOUND:
        raise
    print("refused: %s" % error.details())

host.close()
