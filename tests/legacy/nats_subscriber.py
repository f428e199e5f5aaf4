"""A plain NATS subscriber, by the protocol's own bytes: `nats_subscriber.py HOST PORT SUBJECT` prints each payload."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    host, port, subject = sys.argv[1:]
    line = socket.create_connection((host, int(port)))
    with line.makefile("rb") as stream:
        assert stream.readline().startswith(b"INFO ")
        line.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %b 1\r\nPING\r\n' % subject.encode())
        while words := stream.readline().split():
            if words[0] == b"PONG":
                print("ready", flush=True)
            elif words[0] == b"PING":
                line.sendall(b"PONG\r\n")
            elif words[0] == b"MSG":
                payload = stream.read(int(words[-1]) + 2)[:-2]
                print(words[1].decode(), payload.decode(), flush=True)


if __name__ == "__main__":
    main()
