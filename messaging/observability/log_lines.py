"""What a line of the log looks like, by LOG_FORMAT."""

from __future__ import annotations

import json
import logging
import time

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One object a line, in ASCII, whatever a message has in it."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said)


def write_log(log_format: str) -> None:
    """From here on, in this process: ``text`` or ``json``."""
    formatter = JsonLines() if log_format == "json" else logging.Formatter(TEXT)
    for handler in logging.root.handlers:
        handler.setFormatter(formatter)
