"""Log records as JSON lines: time, level, logger, message, and the fields of a result."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

# The attribute of a log record that holds the fields of a result.
RESULT = "result"


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        if fields := getattr(record, RESULT, None):
            row[RESULT] = fields
        return json.dumps(row, default=str)


class StandardError(logging.StreamHandler):
    """Writes to what is the standard error now, which a caller may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def json_handler() -> logging.Handler:
    """A handler that writes JSON lines to the standard error."""
    handler = StandardError()
    handler.setFormatter(JsonLines())
    return handler


def capture_other_libraries(handler: logging.Handler | None) -> None:
    """Send warnings, and what other libraries log to the root, to a handler; None ends that."""
    root = logging.getLogger()
    for held in [one for one in root.handlers if isinstance(one, StandardError)]:
        root.removeHandler(held)
    logging.captureWarnings(handler is not None)
    if handler is not None:
        root.addHandler(handler)
        # A warning has a line of source code below it otherwise.
        warnings.formatwarning = lambda message, category, *_, **__: (
            f"{category.__name__}: {message}"
        )
