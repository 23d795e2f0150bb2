"""Sending what was found to the console, which ticks the items of checklists with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from policy_client.check.values import Finding
from policy_client.errors import JsonRefused, Misconfigured, PolicyError
from policy_client.jsontext import load_json
from policy_client.options import Options
from policy_client.version import __version__
from policy_client.wire import Reply, Wire, WireError

MOST_DETAIL = 1000
LARGEST_REPLY = 64 * 1024


def send(options: Options, url: str, findings: Sequence[Finding], release: int | None) -> str:
    """Send what passed or failed, with the service's key; what came of it in a sentence. Raises PolicyError."""
    if not options.console_url.startswith(("http://", "https://")):
        raise Misconfigured("--report needs POLICY_CONSOLE_URL and a POLICY_SERVICE_KEY with the scope checks:write.")
    results = [
        {"check": finding.check.value, "passed": finding.passed, "detail": finding.detail[:MOST_DETAIL]}
        for finding in findings
        if finding.passed is not None
    ]
    body = json.dumps({"url": url, "results": results, "release": release}).encode()
    headers = {
        "Authorization": f"Bearer {options.service_key}",
        "Content-Type": "application/json",
        "User-Agent": f"policy-client/{__version__}",
    }
    wire = Wire(options.console_url)
    try:
        reply = wire.exchange("POST", "/api/v1/checks/", headers=headers, body=body, max_bytes=LARGEST_REPLY)
    except WireError as error:
        raise PolicyError(f"The report was not sent: {error.message}") from error
    finally:
        wire.close()
    if reply.status != 201:
        raise PolicyError(f"{wire.place} did not take the report: {reply.status} {_detail(reply)}".rstrip())
    return _ticked(reply)


def _ticked(reply: Reply) -> str:
    told = _read(reply)
    ticked = told.get("ticked")
    items = [
        f"item {item.get('item')} of release {item.get('release')}"
        for item in (ticked if isinstance(ticked, list) else [])
        if isinstance(item, dict)
    ]
    return f"Report {told.get('report')} was sent; it ticked {', '.join(items) or 'nothing'}."


def _detail(reply: Reply) -> str:
    told = _read(reply)
    errors = told.get("errors")
    first = next(iter(errors.items()), None) if isinstance(errors, dict) else None
    return f"{told.get('detail', '')} {first[0]}: {first[1]}" if first else str(told.get("detail", ""))


def _read(reply: Reply) -> dict[str, object]:
    try:
        told = load_json(reply.body)
    except JsonRefused:
        return {}
    return told if isinstance(told, dict) else {}
