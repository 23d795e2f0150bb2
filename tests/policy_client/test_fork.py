"""Forks: preloaded workers, reloads and jobs. Each process polls and reports for itself, under a name of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from policy_client.testing import bundle, policy
from tests.policy_client.peer import Peer

ROOT = Path(__file__).resolve().parent.parent.parent

# The parent loads the application, as `gunicorn --preload` does, and then makes workers by fork.
PRELOADED = """
import os, sys, threading
from policy_client import Call, PolicyClient

client = PolicyClient.from_env()
if sys.argv[1] == "used":
    client.start()
    client.refresh()
    assert client.decide(Call(endpoint="x", user="parent")).outcome == "allow"
assert (threading.active_count() == 2) == (sys.argv[1] == "used")

children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        assert threading.active_count() == 1
        held = client.status().active_version
        client.ready()
        assert threading.active_count() == 2, threading.enumerate()
        client.refresh()
        outcomes = [client.decide(Call(endpoint="x", user=f"child-{number}")).outcome for _ in range(2)]
        assert outcomes == ["allow", "deny"], outcomes
        client.close()
        print(held, client.instance, flush=True)
        os._exit(0)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
client.close()
print(client.instance, flush=True)
sys.exit(max(codes))
"""


@pytest.mark.parametrize("parent", ["used", "unused"])
def test_each_forked_worker_polls_and_reports_for_itself(peer: Peer, tmp_path: Path, parent: str) -> None:
    peer.body = bundle(policy("x", per_user={"key": ["user"], "limit": 1, "window": 3600}), version=4)
    done = subprocess.run(
        [sys.executable, "-c", PRELOADED, parent],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "POLICY_CONSOLE_URL": peer.url,
            "POLICY_SERVICE_KEY": "pck_key",
            "POLICY_INSTANCE": "web",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *workers, last = done.stdout.split("\n")[:-1]
    assert {line.partition(" ")[0] for line in workers} == {"4" if parent == "used" else "None"}
    instances = [line.rpartition(" ")[2] for line in workers]
    assert len({*instances, last}) == 4
    reported = {batch["instance"] for batch in peer.batches()}
    assert reported == ({*instances, last} if parent == "used" else set(instances))
    counts = [
        (batch["instance"], count["allowed"], count["denied"])
        for batch in peer.batches()
        for count in batch["counts"]
        if count["rule"] is None
    ]
    assert sorted(counts) == sorted(
        [(instance, 1, 1) for instance in instances] + ([(last, 1, 0)] if parent == "used" else [])
    )
    assert all(batch["active_version"] == 4 for batch in peer.batches()[-3:])


# A thread of the parent is in the middle of a fetch, with every lock held, when the fork happens.
MID_FETCH = """
import os, sys, threading
from policy_client import Call, PolicyClient

client = PolicyClient.from_env()
client.start()
sys.stdin.readline()
child = os.fork()
if child == 0:
    client.refresh()
    os._exit(0 if client.status().active_version == 4 else 1)
sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_fork_in_the_middle_of_a_fetch_blocks_nobody(peer: Peer) -> None:
    import threading  # noqa: PLC0415

    release, entered = threading.Event(), threading.Event()

    def hang(asked: object) -> None:
        if not entered.is_set():
            entered.set()
            release.wait(30)

    peer.body = bundle(version=4)
    peer.answer = hang  # type: ignore[assignment]
    running = subprocess.Popen(
        [sys.executable, "-c", MID_FETCH],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "POLICY_CONSOLE_URL": peer.url,
            "POLICY_SERVICE_KEY": "pck_key",
        },
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        assert entered.wait(20)
        assert running.stdin is not None
        running.stdin.write("\n")
        running.stdin.flush()
        assert running.wait(20) == 0
    finally:
        release.set()
        running.kill()
        running.wait()
        if running.stdin is not None:
            running.stdin.close()
