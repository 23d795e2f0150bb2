import subprocess
import sys

PROGRAM = """
import sys, time
before = set(sys.modules)
started = time.process_time()
import policy_client
import policy_client.client, policy_client.stores
policy_client.stores.open_store("memory://")
took = time.process_time() - started
standard = sys.stdlib_module_names
print(took)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(standard) - {"policy_client"}))
"""


def test_import_needs_no_third_party_package_and_is_quick():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    took, third_party = done.stdout.splitlines()
    assert third_party == ""
    assert float(took) < 0.5


def test_a_redis_store_without_redis_says_what_to_install():
    program = """
import sys
sys.modules["redis"] = None
from policy_client.errors import Misconfigured
from policy_client.stores import open_store
try:
    open_store("redis://localhost")
except Misconfigured as error:
    print(error)
sys.modules["django"] = None
try:
    open_store("django-cache://default")
except Misconfigured as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    redis, django = done.stdout.splitlines()
    assert "policy-client[redis]" in redis
    assert "policy-client[django]" in django
