"""What this deployment says through its environment variables: the one gate that every setting passes.

`read()` never raises for a bad value: it puts a safe stand-in in its place and notes a numbered `Problem`,
which `manage.py check` prints with its hint and for which the server refuses to start (`console.checks`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ

from policy_client.errors import Misconfigured
from policy_client.identity import TrustedProxies

T = TypeVar("T")

LOG_FORMATS = ("console", "json")
DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql")
REDIS_SCHEMES = ("redis", "rediss", "unix")
EMAIL_PORTS = {"smtp": 25, "smtps": 587, "smtp+tls": 587, "smtp+ssl": 465}
EMAIL_ELSEWHERE = ("consolemail", "filemail", "dummymail")
EMAIL_HINT = "Write EMAIL_URL=smtp+tls://USER:PASSWORD@HOST:587, or dummymail:// to send none."
CONSOLE_HINT = "Write CONSOLE_URL=https://policies.example.com, without a path."
SQLITE = "django.db.backends.sqlite3"


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting that cannot be used as it stands; `number` is that of its system check (`console.E001`)."""

    number: int
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Everything that differs from one installation to the next, parsed and typed."""

    debug: bool
    secret_key: str
    allowed_hosts: list[str]
    csrf_trusted_origins: list[str]
    database: dict[str, Any]
    redis_url: str | None
    trusted_proxies: TrustedProxies
    log_format: str
    email: dict[str, Any] | None
    email_from: str
    console_url: str
    keep_counts_days: int
    problems: tuple[Problem, ...]

    @property
    def embedded(self) -> bool:
        """One process on one machine: what must be shared between workers lives in process memory."""
        return self.redis_url is None


@dataclass
class Reader:
    """Reads variables one by one and collects what is wrong with them."""

    variables: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def get(self, name: str, parse: Callable[[str], T], default: T, *, number: int, hint: str) -> T:
        """The parsed variable; `default` when it is unset, empty or refused by `parse` (then noted)."""
        raw = self.variables.get(name, "").strip()
        if not raw:
            return default
        try:
            return parse(raw)
        except (ValueError, environ.ImproperlyConfigured, Misconfigured) as error:
            self.problems.append(Problem(number, f"{name} cannot be used: {error}", hint))
            return default


def read(variables: Mapping[str, str], var: Path) -> Deployment:
    """The deployment that `variables` describe; `var` is the directory of what the console itself keeps."""
    reader = Reader(variables)
    debug = reader.get("DEBUG", parse_boolean, False, number=6, hint="Set DEBUG=0 or DEBUG=1.")
    redis_hint = "Write redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///PATH."
    proxies_hint = "List addresses or networks, separated by commas: TRUSTED_PROXIES=10.0.0.0/8,192.0.2.7"
    log_hint = "Set LOG_FORMAT=console or LOG_FORMAT=json."
    return Deployment(
        debug=debug,
        secret_key=secret_key(reader, var, debug=debug),
        allowed_hosts=parse_list(variables.get("ALLOWED_HOSTS", "")) or default_hosts(debug),
        csrf_trusted_origins=parse_list(variables.get("CSRF_TRUSTED_ORIGINS", "")),
        database=database(reader, var),
        redis_url=reader.get("REDIS_URL", parse_redis_url, None, number=3, hint=redis_hint),
        trusted_proxies=reader.get(
            "TRUSTED_PROXIES", TrustedProxies.parse, TrustedProxies(), number=4, hint=proxies_hint
        ),
        log_format=reader.get("LOG_FORMAT", parse_log_format, "console", number=5, hint=log_hint),
        **mail(reader, debug=debug),
        keep_counts_days=reader.get(
            "KEEP_COUNTS_DAYS", parse_days, 35, number=13, hint="Set a number of days from 1 to 3650; default 35."
        ),
        problems=tuple(reader.problems),
    )


def secret_key(reader: Reader, var: Path, *, debug: bool) -> str:
    """SECRET_KEY; in debug one that is made once and kept in `var`."""
    given = reader.variables.get("SECRET_KEY", "").strip()
    if given:
        return given
    if debug:
        return kept_secret(var / "secret_key")
    made = "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
    hint = f"On your own machine: export DEBUG=1, as make run does. In production set SECRET_KEY to what {made} prints."
    reader.problems.append(Problem(1, "SECRET_KEY is not set, and DEBUG is off.", hint))
    return secrets.token_urlsafe(50)  # nothing it signs outlives this process, which serves nobody


def kept_secret(path: Path) -> str:
    """The secret in `path`, made at the first call. Several processes may ask at once: one wins, all get the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


def database(reader: Reader, var: Path) -> dict[str, Any]:
    """Django's settings of the one database, with what SQLite and PostgreSQL each need to be safe under load."""
    default: dict[str, Any] = {"ENGINE": SQLITE, "NAME": str(var / "console.sqlite3")}
    hint = "Write DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:////absolute/path.sqlite3"
    settings = reader.get("DATABASE_URL", parse_database_url, default, number=2, hint=hint)
    options = dict(settings.get("OPTIONS", {}))
    if settings["ENGINE"] == SQLITE:
        if settings["NAME"] != ":memory:":
            Path(settings["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        # IMMEDIATE is what serialises writers: select_for_update does nothing on SQLite.
        options |= {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        # The pool hands connections out and takes them back itself, so Django must not keep them (CONN_MAX_AGE).
        options |= {"pool": {"min_size": 0, "max_size": 20, "timeout": 10, "max_idle": 60}}
    return {**settings, "OPTIONS": options, "CONN_MAX_AGE": 0, "ATOMIC_REQUESTS": False}


def mail(reader: Reader, *, debug: bool) -> dict[str, Any]:
    """Where mail goes, from whom, and where its links lead; on a laptop it is printed, and links lead to `make run`."""
    from_hint = "Write EMAIL_FROM=policies@example.com or 'Policy Console <policies@example.com>'."
    return {
        "email": reader.get(
            "EMAIL_URL",
            parse_email_url,
            parse_email_url("consolemail://") if debug else None,
            number=10,
            hint=EMAIL_HINT,
        ),
        "email_from": reader.get("EMAIL_FROM", parse_sender, "policy-console@localhost", number=11, hint=from_hint),
        "console_url": reader.get(
            "CONSOLE_URL", parse_origin, "http://127.0.0.1:8000" if debug else "", number=12, hint=CONSOLE_HINT
        ),
    }


def default_hosts(debug: bool) -> list[str]:
    """Names under which a console on a laptop is opened; none in production."""
    return ["localhost", "127.0.0.1", "[::1]"] if debug else []


def parse_boolean(raw: str) -> bool:
    """`1`, `true`, `yes`, `on` and their opposites."""
    if raw.lower() in {"1", "true", "yes", "on"}:
        return True
    if raw.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(f"{raw!r} is neither 0 nor 1")


def parse_list(raw: str) -> list[str]:
    """Comma-separated words."""
    return [word.strip() for word in raw.split(",") if word.strip()]


def parse_redis_url(raw: str) -> str:
    """A URL that redis-py understands."""
    if urlsplit(raw).scheme not in REDIS_SCHEMES:
        raise ValueError(f"its scheme is not one of {', '.join(REDIS_SCHEMES)}")
    return raw


def parse_log_format(raw: str) -> str:
    """One of LOG_FORMATS."""
    if raw not in LOG_FORMATS:
        raise ValueError(f"{raw!r} is not one of {', '.join(LOG_FORMATS)}")
    return raw


def parse_database_url(raw: str) -> dict[str, Any]:
    """Django's settings for a DATABASE_URL of SQLite or PostgreSQL."""
    if urlsplit(raw).scheme not in DATABASE_SCHEMES:
        raise ValueError(f"its scheme is not one of {', '.join(DATABASE_SCHEMES)}")
    return dict(environ.Env.db_url_config(raw))


def parse_email_url(raw: str) -> dict[str, Any]:
    """Django's settings of mail, by name."""
    scheme = urlsplit(raw).scheme
    if scheme not in EMAIL_PORTS and scheme not in EMAIL_ELSEWHERE:
        raise ValueError(f"its scheme is not one of {', '.join((*EMAIL_PORTS, *EMAIL_ELSEWHERE))}")
    told = dict(environ.Env.email_url_config(raw))
    if scheme in EMAIL_PORTS and not told["EMAIL_HOST"]:
        raise ValueError("it names no host")
    return {
        "EMAIL_BACKEND": told["EMAIL_BACKEND"],
        "EMAIL_HOST": told["EMAIL_HOST"] or "",
        "EMAIL_PORT": told["EMAIL_PORT"] or EMAIL_PORTS.get(scheme, 25),
        "EMAIL_HOST_USER": told["EMAIL_HOST_USER"] or "",
        "EMAIL_HOST_PASSWORD": told["EMAIL_HOST_PASSWORD"] or "",
        "EMAIL_USE_TLS": told.get("EMAIL_USE_TLS", False),
        "EMAIL_USE_SSL": told.get("EMAIL_USE_SSL", False),
        "EMAIL_FILE_PATH": f"/{told['EMAIL_FILE_PATH'].lstrip('/')}" if told["EMAIL_FILE_PATH"] else None,
    }


def parse_sender(raw: str) -> str:
    """An address, with or without a name."""
    if "@" not in parseaddr(raw)[1] or len(raw.splitlines()) > 1:
        raise ValueError(f"{raw!r} is no address")
    return raw


def parse_origin(raw: str) -> str:
    """Scheme and host, without a slash at the end."""
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError(f"{raw!r} is not the address of a console")
    return f"{parts.scheme}://{parts.netloc}"


def parse_days(raw: str) -> int:
    """A number of days that a calendar can hold."""
    days = int(raw)
    if not 1 <= days <= 3650:
        raise ValueError(f"{days} is not between 1 and 3650")
    return days
