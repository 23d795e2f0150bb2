"""What stands on every answer, and what is believed of every request."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from urllib.request import urlopen

import pytest
from django.http import Http404, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils import timezone

from console.middleware.headers import HEADERS
from console.urls import urlpatterns as console_urls
from policies.jobs.registry import JOBS
from policies.models import JobRun
from policy_client.identity import TrustedProxies


def boom(request):
    raise RuntimeError("a bug")


def missing(request):
    raise Http404


def tell(request):
    return HttpResponse(f"{request.META['REMOTE_ADDR']} {request.scheme} {request.request_id}")


urlpatterns = [*console_urls, path("boom", boom), path("missing", missing), path("tell", tell)]


@pytest.fixture
def door(client, settings):
    """A client of a console in production dress, with three views of our own."""
    settings.ROOT_URLCONF = __name__
    client.raise_request_exception = False
    return client


def has_security_headers(response):
    policy = response["Content-Security-Policy"]
    return (
        all(response[name] == value for name, value in HEADERS.items())
        and "default-src 'self'" in policy
        and "unsafe" not in policy
    )


@pytest.mark.portable
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/health", 200),
        ("/health/ready", 200),
        ("/metrics", 200),
        ("/", 302),
        ("/admin/login/", 200),
        ("/admin/", 302),
        ("/missing", 404),
        ("/no-such-page", 404),
        ("/boom", 500),
        ("/api/docs/", 200),
        ("/api/schema/", 200),
        ("/api/v1/nowhere", 404),
        ("/api/v1/bundle", 401),
    ],
)
def test_security_headers_stand_on_every_page_errors_too(door, address, status):
    response = door.get(address)
    assert response.status_code == status
    assert has_security_headers(response)


def test_security_headers_stand_on_the_refusal_of_a_foreign_host(door):
    response = door.get("/", headers={"host": "elsewhere.example"})
    assert response.status_code == 400
    assert has_security_headers(response)


def test_our_own_error_pages_have_no_inline_style_or_script(door):
    for address, words in (("/missing", "no such page"), ("/boom", "console failed")):
        text = door.get(address).content.decode()
        assert words in text
        assert "console/plain.css" in text
        assert not re.search(r"<style|<script|style=", text)


def test_a_form_from_elsewhere_is_refused_in_words():
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a", "password": "b"})
    assert response.status_code == 403
    assert "expired" in response.content.decode()
    assert has_security_headers(response)


@pytest.mark.django_db
def test_probes_need_no_host_name_and_no_tls(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["policy.example.com"]
    for address in ("/health", "/health/ready", "/metrics"):
        assert client.get(address, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/admin/", headers={"host": "policy.example.com"}).status_code == 301


def test_health_asks_no_database(client):
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"ok": True})
    assert client.post("/health").status_code == 405
    assert client.head("/health").status_code == 200


@pytest.mark.parametrize("given", ["0123456789abcdef", "a.b-c_d.e", "A" * 64])
def test_a_well_formed_request_id_is_kept_and_echoed(door, given):
    response = door.get("/tell", headers={"x-request-id": given})
    assert response["X-Request-ID"] == given
    assert response.content.decode().endswith(given)


@pytest.mark.parametrize("given", ["", "short", "A" * 65, "has space", "a\u00e9bcdefgh", "semi;colon", "-leading-dash"])
def test_a_malformed_request_id_is_replaced(door, given):
    response = door.get("/tell", headers={"x-request-id": given})
    assert re.fullmatch("[0-9a-f]{32}", response["X-Request-ID"])


def with_proxies(settings, networks):
    settings.DEPLOYMENT = replace(settings.DEPLOYMENT, trusted_proxies=TrustedProxies.parse(networks))


def test_forwarded_headers_are_ignored_from_strangers(door):
    response = door.get("/tell", headers={"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "https"})
    assert response.content.decode().startswith("127.0.0.1 http ")


def test_forwarded_headers_are_believed_from_trusted_proxies(door, settings):
    with_proxies(settings, "127.0.0.0/8")
    response = door.get("/tell", headers={"x-forwarded-for": "6.6.6.6, 198.51.100.1", "x-forwarded-proto": "https"})
    assert response.content.decode().startswith("198.51.100.1 https ")


def test_behind_a_trusted_proxy_with_tls_nothing_is_redirected(door, settings):
    with_proxies(settings, "127.0.0.1")
    settings.SECURE_SSL_REDIRECT = True
    assert door.get("/tell", headers={"x-forwarded-proto": "https"}).status_code == 200
    assert door.get("/tell", headers={"x-forwarded-proto": "http"}).status_code == 301


@pytest.mark.anyio
@pytest.mark.django_db
async def test_the_same_holds_under_asgi():
    client = AsyncClient(raise_request_exception=False)
    with override_settings(ROOT_URLCONF=__name__):
        for address, status in (("/health", 200), ("/tell", 200), ("/boom", 500), ("/metrics", 200)):
            response = await client.get(address, headers={"x-request-id": "from-outside-1"})
            assert response.status_code == status
            assert has_security_headers(response)
            assert response["X-Request-ID"] == "from-outside-1"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.django_db
def test_ready_names_the_part_that_does_not_work(client, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.2},
        }
    }
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {
        "ok": False,
        "parts": {
            "database": {"ok": True},
            "migrations": {"ok": True},
            "cache": {"ok": False, "error": "ConnectionError"},
            "jobs": {"ok": False, "error": "; ".join(f"{job.name} never ran" for job in JOBS)},
        },
    }


@pytest.mark.django_db
def test_jobs_that_stand_still_are_told_of_and_make_nobody_unready(client):
    def jobs_part():
        response = client.get("/health/ready")
        assert (response.status_code, response.json()["ok"]) == (200, True)
        return response.json()["parts"]["jobs"]

    now = timezone.now()
    for job in JOBS:
        JobRun.objects.create(job=job.name, node="n", started_at=now, outcome="done")
    assert jobs_part() == {"ok": True}
    JobRun.objects.create(job="send", node="n", started_at=now, outcome="failed")
    JobRun.objects.filter(job="expire").update(started_at=now - timedelta(minutes=9))
    assert jobs_part() == {"ok": False, "error": "expire is late; send failed"}

    metrics = client.get("/metrics").content.decode()
    assert 'console_job_failing{job="send"} 1.0' in metrics and 'console_job_failing{job="expire"} 0.0' in metrics
    assert 'console_job_late{job="expire"} 1.0' in metrics and 'console_job_late{job="send"} 0.0' in metrics
    [ran] = re.findall(r'console_job_last_run_timestamp_seconds{job="send"} (\S+)', metrics)
    assert float(ran) == pytest.approx(now.timestamp(), abs=1)
    assert "console_notices_waiting 0.0" in metrics and "console_notices_given_up 0.0" in metrics


@pytest.mark.django_db
def test_metrics_count_by_view_and_status(door):
    def value(labels):
        text = door.get("/metrics").content.decode()
        found = re.search(rf"^console_requests_total{{{re.escape(labels)}}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = value('status="404",view="missing"')
    door.get("/missing")
    door.get("/missing?page=2")
    assert value('status="404",view="missing"') == before + 2


def test_the_log_is_one_json_object_a_line_without_query_strings(process, free_port, tmp_path):
    url = f"http://127.0.0.1:{free_port}"
    command = ["python", "-m", "uvicorn", "console.asgi:application", "--port", str(free_port), "--no-access-log"]
    variables = {"DEBUG": "1", "LOG_FORMAT": "json", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    running = process([*command, "--no-proxy-headers", "--lifespan", "off"], ready=f"{url}/health", **variables)
    with urlopen(f"{url}/admin/login/?next=/secret-part") as answer:
        request_id = answer.headers["X-Request-ID"]
    running.stop()
    events = [json.loads(line) for line in running.text().splitlines() if line.startswith('{"')]
    (line,) = [event for event in events if event["event"] == "request"]
    assert line["request_id"] == request_id
    assert (line["method"], line["path"], line["status"], line["client"]) == ("GET", "/admin/login/", 200, "127.0.0.1")
    assert "secret-part" not in running.text()
