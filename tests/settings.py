"""The console's settings as tests use them: the embedded default, whatever the shell that runs them has set.

TEST_DATABASE_URL (set by `python -m tests.servers` for the second run of `make test`) names another database.
"""

import os
import tempfile
from pathlib import Path

for name in (
    "ALLOWED_HOSTS", "CONSOLE_URL", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL", "EMAIL_FROM", "EMAIL_URL",
    "KEEP_COUNTS_DAYS", "LOG_FORMAT", "REDIS_URL", "TRUSTED_PROXIES",
):  # fmt: skip
    os.environ.pop(name, None)
os.environ["DEBUG"] = "1"
os.environ["SECRET_KEY"] = "the-secret-of-the-tests-signs-nothing-outside-of-them"
if os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]

from console import settings as console_settings  # noqa: E402
from console.settings import *  # noqa: E402, F403

# It is async only, so Django's synchronous test client would run every request through a bridge; a console that is
# started as a process has it.
MIDDLEWARE = [name for name in console_settings.MIDDLEWARE if not name.endswith(".StaticFiles")]

# One round instead of a million: tests log in often and keep no real password.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if console_settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: SQLite's shared memory locks whole tables, and never waits for a lock.
    console_settings.DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"policy-console-tests-{os.getpid()}.sqlite3")
    }
