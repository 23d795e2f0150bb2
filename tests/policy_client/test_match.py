import json

import pytest

from policy_client.bundle import Endpoint, parse_bundle
from policy_client.match import Matcher, clash


def endpoint(route, *methods, name=""):
    return {"name": name, "methods": list(methods), "route": route}


def policy(reference, *endpoints, scope="endpoint"):
    return {
        "reference": reference,
        "name": reference.lower(),
        "revision": 1,
        "owner": "team-data",
        "scope": scope,
        "endpoints": list(endpoints),
        "rules": [],
    }


def matcher(*policies, routes=()):
    body = {"schema": 1, "service": "s", "environment": "e", "generation": 1, "version": 1, "policies": list(policies)}
    return Matcher(parse_bundle(json.dumps(body).encode()).policies, routes)


def reference(match):
    return match and match.policy.reference


def test_by_route_any_framework_finds_the_policy():
    found = matcher(policy("EXPORT", endpoint("/reports/{report_id}/export", "POST", name="reports.export")))
    for route in ("/reports/{pk:int}/export", "/reports/<int:pk>/export", "/^reports/(?P<x>\\d+)/export$"):
        assert reference(found.by_route("POST", route)) == "EXPORT"
    assert found.by_route("GET", "/reports/{pk}/export") is None
    assert found.by_route("POST", "/reports/{pk}/export/") is None
    assert found.by_route("POST", "/reports/{pk}/export") is found.by_route("POST", "/reports/{pk}/export")


def test_get_covers_head_and_options_only_if_listed():
    found = matcher(
        policy("GET", endpoint("/a", "GET")), policy("ALL", endpoint("/b")), policy("O", endpoint("/c", "OPTIONS"))
    )
    assert reference(found.by_route("HEAD", "/a")) == "GET"
    assert reference(found.by_route("PURGE", "/b")) == "ALL"
    assert found.by_route("OPTIONS", "/b") is None
    assert reference(found.by_route("OPTIONS", "/c")) == "O"


def test_methods_that_nobody_knows_do_not_fill_the_memory():
    found = matcher(policy("ALL", endpoint("/b")))
    for number in range(100):
        assert found.by_route(f"X{number}", "/b")
    assert len(found._remembered) == 0


def test_by_name_looks_at_neither_method_nor_route():
    found = matcher(policy("EXPORT", endpoint("/reports/{report_id}/export", "POST", name="reports.export")))
    assert reference(found.by_name("reports.export")) == "EXPORT"
    assert found.by_name("reports.import") is None
    assert found.by_name("") is None


def test_the_rest_of_a_service_has_the_entry_without_endpoints():
    found = matcher(policy("A", endpoint("/a", "GET")), policy("REST", scope="service"))
    assert reference(found.by_route("GET", "/a")) == "A"
    assert found.by_route("GET", "/b/{x}") == found.by_route("POST", "/b/{y}")
    assert found.by_route("GET", "/b/{x}").route == "/b/{}"
    assert found.by_route("GET", "/b/{x}").endpoint is None
    assert reference(found.by_route("POST", "/a")) == "REST"
    assert found.by_name("unknown") is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b", "LITERAL"),
        ("/a/x", "PARAMETER"),
        ("/a/x.json", "MIXED"),
        ("/a/.json", "PARAMETER"),
        ("/a/", "SPAN"),
        ("/a", None),
        ("/a/x/y/z", "SPAN"),
        ("/a/x/c", "DEEP"),
        ("/a/b/c", "DEEP"),
        ("/a//c", "SPAN"),
        ("/z", None),
        ("/z/1/2", "TWO"),
        ("/z/q/2", "TWO"),
        ("/z/b/2", "MORE"),
        ("", None),
        ("a/b", None),
        ("*", None),
    ],
)
def test_by_path_the_more_literal_template_wins(path, expected):
    found = matcher(
        policy("SPAN", endpoint("/a/{rest*}")),
        policy("PARAMETER", endpoint("/a/{x}")),
        policy("MIXED", endpoint("/a/{x}.json")),
        policy("LITERAL", endpoint("/a/b")),
        policy("DEEP", endpoint("/a/{x}/c")),
        policy("TWO", endpoint("/z/{x}/{y}")),
        policy("MORE", endpoint("/{w}/b/{y}"), endpoint("/z/b/{y}")),
    )
    assert reference(found.by_path("GET", path)) == expected


def test_by_path_counts_literal_parts_before_places():
    found = matcher(policy("LEFT", endpoint("/a/{x}/{y}")), policy("MORE", endpoint("/{w}/b/c")))
    assert reference(found.by_path("GET", "/a/b/c")) == "MORE"


def test_by_path_passes_over_templates_of_other_methods():
    found = matcher(policy("POST", endpoint("/a/b", "POST")), policy("ANY", endpoint("/a/{x}")))
    assert reference(found.by_path("GET", "/a/b")) == "ANY"
    assert reference(found.by_path("POST", "/a/b")) == "POST"


def test_by_path_the_rest_needs_to_be_told_its_endpoints():
    found = matcher(policy("REST", scope="service"), routes=[Endpoint(route="/b/{x}", methods=("GET",))])
    assert reference(found.by_path("GET", "/b/1")) == "REST"
    assert found.by_path("GET", "/b/1").route == "/b/{}"
    assert found.by_path("GET", "/c") is None


def test_many_wild_templates_do_not_make_a_path_slow():
    found = matcher(*(policy(f"P{n}", endpoint("/" + "/".join(f"{{a{i}}}" for i in range(n)))) for n in range(1, 40)))
    assert found.by_path("GET", "/a" * 2000) is None
    assert reference(found.by_path("GET", "/a" * 39)) == "P39"
    tricky = matcher(policy("P", endpoint("/{a}x{b}x{c}x{d}y")))
    assert tricky.by_path("GET", "/" + "x" * 20_000) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("/a/{x}", "GET"), ("/a/{y}", "GET"), True),
        (("/a/{x}", "GET"), ("/a/<int:y>", "HEAD"), True),
        (("/a/{x}", "GET"), ("/a/{y}", "POST"), False),
        (("/a/{x}",), ("/a/{y}", "POST"), True),
        (("/a/{x}",), ("/a/{y}",), True),
        (("/a/{x}",), ("/a/{y}", "OPTIONS"), False),
        (("/a/{x}",), ("/a/{y}/",), False),
        (("/a/{x}",), ("/a/{x*}",), False),
        (("/a/b",), ("/a/{x}",), False),
    ],
)
def test_endpoints_clash_if_routes_are_equal_and_methods_meet(one, other, expected):
    first, second = (Endpoint(route=route, methods=tuple(methods)) for route, *methods in (one, other))
    assert clash(first, second) is clash(second, first) is expected
