"""A platform in a process of its own, which can be stopped and killed: it prints the id and body of every push.

``python stopping_platform.py PORT``; 0: any. The first line is the port.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        line = json.dumps({"id": self.headers["webhook-id"], "body": body.decode()}) + "\n"
        # One write: print() writes the end of a line for itself, and another thread's line may come between.
        os.write(sys.stdout.fileno(), line.encode())
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"success")

    def log_message(self, *_: object) -> None:
        return


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
