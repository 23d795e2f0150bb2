"""One line of an access log: Common, Combined, or a JSON object, told apart line by line."""

from __future__ import annotations

import calendar
import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

_COMMON = re.compile(
    r"(?P<ip>\S+) \S+ .*?\[(?P<minute>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(?P<second>\d\d) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) (?:\d+|-)(?: |$)'
)
_REQUEST = re.compile(r"(?P<method>[A-Za-z][A-Za-z-]{0,19}) (?P<target>\S+)(?: HTTP/\d(?:\.\d)?)?")
_ESCAPE = re.compile(r'\\(x[0-9A-Fa-f]{2}|["\\])')
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOT_AN_ADDRESS = re.compile(r"[\s\x00-\x1f\x7f]")

MAX_ADDRESS = 100


class Line(NamedTuple):
    """A call as a log has it. `time` is in seconds since the epoch; `path` is decoded, `query` is not."""

    time: float
    ip: str
    method: str
    path: str
    query: str


def parse_line(text: str) -> Line | None:
    """The call of a line, None if the line is malformed. The status is not looked at, but has to be there."""
    try:
        return _parse_json(text) if text.startswith("{") else _parse_common(text)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _parse_common(text: str) -> Line | None:
    found = _COMMON.match(text)
    if found is None or found["ip"] == "-" or len(found["ip"]) > MAX_ADDRESS:
        return None
    request = _REQUEST.fullmatch(found["request"])
    if request is None:
        return None
    second = int(found["second"])
    if second > 60:
        return None
    time = _minute(found["minute"], found["zone"]) + second
    return _line(time, found["ip"], request["method"], _unescaped(request["target"]))


@lru_cache(maxsize=4096)
def _minute(text: str, zone: str) -> int:
    """17/May/2015:10:05 and +0200 in seconds since the epoch; one minute has many lines."""
    day, month, rest = text.split("/")
    year, hour, minute = rest.split(":")
    moment = datetime(int(year), _MONTHS.index(month), int(day), int(hour), int(minute), tzinfo=UTC)
    offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return calendar.timegm(moment.utctimetuple()) - (offset if zone[0] == "+" else -offset)


def _unescaped(target: str) -> str:
    """Servers write quotes and unprintable bytes of a request with a backslash."""
    if "\\" not in target:
        return target
    return _ESCAPE.sub(lambda found: chr(int(found[1][1:], 16)) if found[1][0] == "x" else found[1], target)


def _parse_json(text: str) -> Line | None:
    data = json.loads(text)
    ip, method, target = data["ip"], data["method"], data["path"]
    status = data["status"]
    if isinstance(status, bool) or not re.fullmatch(r"\d{3}", str(status)):
        return None
    if not (isinstance(ip, str) and isinstance(method, str) and isinstance(target, str)):
        return None
    if not 0 < len(ip) <= MAX_ADDRESS or _NOT_AN_ADDRESS.search(ip) or not _REQUEST.fullmatch(f"{method} /"):
        return None
    return _line(_json_time(data["time"]), ip, method, target)


def _json_time(raw: Any) -> float:
    """RFC 3339 text, or seconds since the epoch."""
    if isinstance(raw, str):
        moment = datetime.fromisoformat(raw)
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        return moment.timestamp()
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0 <= raw < 2**40:
        raise ValueError("not a time")
    return float(raw)


def _line(time: float, ip: str, method: str, target: str) -> Line | None:
    path, _, query = target.partition("?")
    if "://" in path and not path.startswith("/"):
        # The absolute form, which is what proxies are asked for.
        path = "/" + path.partition("://")[2].partition("/")[2]
    return Line(time, ip, method.upper(), unquote(path) if "%" in path else path, query)
