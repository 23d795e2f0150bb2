"""Many write at the same moment: the chain neither forks nor breaks, and nothing that was done lacks its link."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from policies.lifecycle import audit, catalog
from policies.models import AuditEvent, AuditHead, Team
from tests.policies.factories import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)


def write(writers: int, each: int) -> None:
    barrier = threading.Barrier(writers)

    def writer(number: int) -> Callable[[], None]:
        def act() -> None:
            barrier.wait(timeout=60)
            for turn in range(each):
                values = {"slug": f"team-{number}-{turn}", "name": "Team", "email": "t@example.com"}
                try:
                    catalog.create(Team, values, by=SYSTEM)
                finally:
                    connections.close_all()  # as at the end of a request: others wait for it

        return act

    before = AuditEvent.objects.count()
    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(writer(number)) for number in range(writers)]:
            done.result()
    links = list(AuditEvent.objects.order_by("seq").values_list("seq", "prev", "hash"))
    assert len(links) == before + writers * each == Team.objects.count() + before
    assert [seq for seq, _, _ in links] == list(range(1, len(links) + 1))
    assert len({prev for _, prev, _ in links}) == len(links), "two events follow the same one"
    found = audit.verify()
    assert found.fault is None and found.head == str(AuditHead.objects.get())


def test_writers_at_once_make_one_chain() -> None:
    write(*((64, 2) if connection.vendor == "postgresql" else (8, 4)))


@pytest.mark.slow
def test_writers_at_once_make_one_chain_for_long() -> None:
    write(*((64, 40) if connection.vendor == "postgresql" else (12, 40)))
