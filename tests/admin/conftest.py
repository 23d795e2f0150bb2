"""What tests of the admin start from: a filled console for the browser, a catalogue and people for Django's client."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests import servers
from tests.conftest import ROOT, answers, foreign
from tests.policies.factories import Catalogue, make_catalogue, person

ASKING = ("test_lists.py", "test_policy_list.py", "test_many_policies.py", "test_many_roles.py", "test_conflicts.py")
"""Tests of what the pages ask the database for, or of what it keeps apart."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name not in ASKING:
            item.add_marker("door")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a console, in a process of its own, that has something on every page (`tests.admin.fill`)."""
    home = tmp_path_factory.mktemp("console")
    port = servers.free_port()
    env = {name: value for name, value in os.environ.items() if not foreign(name)}
    env |= {
        "DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{home}/console.sqlite3",
        "SECRET_KEY": "signs nothing but sessions",
    }
    python = [sys.executable, "-m"]
    filling = servers.Running([*python, "tests.admin.fill"], output=home / "fill.log", env=env, cwd=ROOT)
    assert filling.process.wait(timeout=120) == 0, filling.text()
    command = ["uvicorn", "console.asgi:application", "--host", "127.0.0.1", "--port", str(port), "--lifespan", "off"]
    running = servers.Running([*python, *command], output=home / "console.log", env=env, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    running.wait_until(lambda: answers(f"{url}/health"))
    yield url
    running.stop()


@pytest.fixture
def catalogue(db: None) -> Catalogue:
    return make_catalogue()


@pytest.fixture
def alice(db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("alice", "alice@example.com", "a long pass phrase")


@pytest.fixture
def charlie(db: None) -> User:
    """May log in, and nothing else."""
    return person("charlie", is_staff=True)


@pytest.fixture
def admin(client: Client, alice: User) -> Client:
    """Alice, logged in."""
    client.force_login(alice)
    return client
