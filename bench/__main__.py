"""`python -m bench [--quick] [--row NAME]`: measure, print, and (all rows, not quick) write RESULTS.md."""

import argparse
import asyncio
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.rounds import Pace, run
from tests.servers import redis_database, redis_server

if TYPE_CHECKING:
    from bench.rows import Comparison, Row

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

REDIS_DATABASE = 0
FULL = Pace(turn_seconds=0.025, rounds=30)
QUICK = Pace(turn_seconds=0.01, rounds=8)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look, too short to be believed; nothing is written")
    parser.add_argument("--row", help="only the rows whose name begins so, as in memory; nothing is written")
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    pace = QUICK if arguments.quick else FULL
    with redis_of_our_own() as url:
        os.environ["BENCH_REDIS_URL"] = url
        import django

        django.setup()
        from bench import results, rows

        found = [one for one in rows.rows(url, asyncio.new_event_loop()) if one.name.startswith(arguments.row or "")]
        compared = []
        for row in found:
            for comparison in measured(row, pace):
                compared.append(comparison)
                print(results.table(comparison), flush=True)
    if not found:
        print(f"No row begins with {arguments.row!r}.", file=sys.stderr)
        return 2
    if not arguments.quick and not arguments.row:
        results.write(compared, load=load, seconds=time.monotonic() - began, pace=pace)
    return 0


def measured(row: "Row", pace: Pace) -> list["Comparison"]:
    from bench import audited, bundles

    try:
        contenders = row.make()
        run(contenders, pace)
        return row.compared(contenders)
    finally:
        bundles.stop()
        audited.stop()


@contextmanager
def redis_of_our_own() -> Iterator[str]:
    """An empty database of a Redis that nobody else uses, unless REDIS_URL says which one."""
    with redis_server() as server, redis_database(server, REDIS_DATABASE) as url:
        yield url


if __name__ == "__main__":
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)  # clients' threads and peers' loops have nothing left to say
