"""Structured logging to stderr: one line an event, for people or as JSON.

Personal data never goes into a log. Values are given as keyword fields of plain kinds, and :func:`event` refuses
fields whose names say that they hold a person's identity or raw bytes.
"""

import json
import logging
import os
import sys
import time
from typing import Any, TextIO

from common.errors import ConfigError

FORMAT_VARIABLE = "DOVETAIL_LOG"
FORMATS = ("human", "json")

FORBIDDEN_FIELDS = frozenset(
    {"user_id", "anonymous_id", "visitor_id", "email", "phone", "name", "address", "ip", "raw", "payload", "body"}
)

_RESERVED = frozenset({"ts", "level", "logger", "message"})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in getattr(record, "fields", {}).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"{_utc(record.created)[11:19]} {record.name}: {level}{record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def setup(format: str | None = None, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Let this process log to stderr as ``human`` or ``json`` lines; the default is ``$DOVETAIL_LOG``, else human.

    For entry points only, once; a library module calls :func:`get` alone. Raises ConfigError for another format.
    """
    chosen = format or os.environ.get(FORMAT_VARIABLE) or "human"
    if chosen not in FORMATS:
        raise ConfigError(f"{FORMAT_VARIABLE}: there is no log format {chosen!r}; choose one of: {', '.join(FORMATS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if chosen == "json" else _HumanFormatter())
    logger = logging.getLogger("dovetail")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def get(name: str) -> logging.Logger:
    """Return the logger of a room or a job, below ``dovetail``."""
    return logging.getLogger(f"dovetail.{name}")


def event(logger: logging.Logger, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log ``message`` with fields, for example ``event(log, "published", version=version, rows=rows)``.

    Raises ValueError for a field that may hold personal data: log counts, versions and digests instead.
    """
    refused = sorted((FORBIDDEN_FIELDS | _RESERVED).intersection(fields))
    if refused:
        raise ValueError(f"fields {', '.join(refused)} are not for logs: log a count, a version or a digest")
    logger.log(level, message, extra={"fields": fields})


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
