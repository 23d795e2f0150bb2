"""Verify an export of the audit trail without the console: `python verify_audit.py [--head SEQ:HASH] [FILE]`.

FILE has the lines of /api/v1/audit/export.jsonl without a filter; without FILE they are read from standard input.
--head is a head kept elsewhere, and shows a tail that was cut off. --after is the head that an export with ?after=
goes on from. Exit status: 0 whole, 1 broken (with the first broken link), 2 not understood.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable

START = f"0:{'0' * 64}"


def check(lines: Iterable[str | bytes], after: str = START, head: str | None = None) -> tuple[str, str | None]:
    """The end of the chain as `SEQ:HASH`, and its first fault (None: whole)."""
    seq, prev = int(after.partition(":")[0]), after.partition(":")[2]
    at, _, wanted = (head or "-1:").partition(":")
    if 0 <= int(at) <= seq and head != after:
        return after, f"event {at}: the head given lies before the lines, or is another one"
    for line in lines:
        try:
            link = json.loads(line)
            found = (link["seq"], link["prev"], json.loads(link["event"])["seq"])
            digest = hashlib.sha256((link["prev"] + link["event"]).encode()).hexdigest()
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"{seq}:{prev}", f"event {seq + 1}: the line cannot be read"
        if found != (seq + 1, prev, seq + 1):
            return f"{seq}:{prev}", f"event {seq + 1}: missing, or does not follow the one before"
        if link.get("hash") != digest:
            return f"{seq}:{prev}", f"event {seq + 1}: its content does not match its hash"
        if int(at) == seq + 1 and wanted != digest:
            return f"{seq}:{prev}", f"event {seq + 1}: its hash is not that of the head given"
        seq, prev = seq + 1, digest
    return f"{seq}:{prev}", f"event {seq + 1}: missing, the head given is event {at}" if int(at) > seq else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", metavar="FILE")
    parser.add_argument("--head", metavar="SEQ:HASH")
    parser.add_argument("--after", metavar="SEQ:HASH", default=START)
    given = parser.parse_args()
    if not all(re.fullmatch("[0-9]{1,18}:[0-9a-f]{64}", one) for one in (given.after, given.head or given.after)):
        parser.error("a head is SEQ:HASH, as the header Audit-Head gives it")
    try:
        with open(given.file or sys.stdin.fileno(), "rb") as lines:  # noqa: PTH123 - standard input has no path
            end, fault = check(lines, given.after, given.head)
    except OSError as error:
        parser.error(str(error))
    sys.stdout.write(f"Broken at {fault}.\n" if fault else f"Whole, up to {end}\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
