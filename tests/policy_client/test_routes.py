import pytest

from policy_client.routes import canonical, normalise, parameters, path_values, refuse


@pytest.mark.parametrize(
    ("framework", "route"),
    [
        # Django, path()
        ("/reports/<int:pk>/export/", "/reports/{pk}/export/"),
        ("/reports/<pk>/", "/reports/{pk}/"),
        ("/files/<path:rest>", "/files/{rest*}"),
        ("/a/<slug:one>-<uuid:two>/", "/a/{one}-{two}/"),
        # Django, re_path(), also below an include
        ("/^reports/(?P<pk>[0-9]+)/export/$", "/reports/{pk}/export/"),
        (r"/api/^v1\.0/(?P<slug>[\w-]+)/\Z", "/api/v1.0/{slug}/"),
        ("/^files/(?P<rest>.*)$", "/files/{rest*}"),
        ("/^files/(?P<name>[^/]+)$", "/files/{name}"),
        ("/^a/(?P<b>(x|y)[)]+)/c$", "/a/{b}/c"),
        ("/reports/$", "/reports/"),
        # Starlette, FastAPI
        ("/reports/{pk:int}", "/reports/{pk}"),
        ("/reports/{pk}", "/reports/{pk}"),
        ("/files/{rest:path}", "/files/{rest*}"),
        ("/a/{name}.json", "/a/{name}.json"),
        # Flask
        ("/items/<int(min=1):pk>", "/items/{pk}"),
        ("/items/<any(a,b):which>", "/items/{which}"),
        ("/items/<string:pk>/<path:rest>", "/items/{pk}/{rest*}"),
        # ours
        ("/files/{rest*}", "/files/{rest*}"),
        ("/", "/"),
    ],
)
def test_every_framework_has_the_same_route(framework, route):
    assert normalise(framework) == route
    assert normalise(route) == route
    assert refuse(framework) is None
    assert refuse(route) is None


def test_names_of_parameters_do_not_matter_and_slashes_do():
    assert canonical("/a/{x}/b") == canonical("/a/{y}/b") == "/a/{}/b"
    assert canonical("/a/{x}/b/") != canonical("/a/{x}/b")
    assert canonical("/a/{x}") != canonical("/a/{x*}") == "/a/{*}"
    assert parameters("/a/{x}/{rest*}") == ("x", "rest")


@pytest.mark.parametrize(
    "route",
    [
        "",
        "reports",
        "https://example.com/reports",
        "//example.com/reports",
        "/reports//export",
        "/reports?x=1",
        "/reports#top",
        "/re ports",
        "/reports\n",
        "/reports/{id",
        "/reports/id}",
        "/reports/{}",
        "/reports/{0}",
        "/reports/{a-b}",
        "/reports/<int:>",
        "/reports/{a}{b}",
        "/reports/{a}/{a}",
        "/files/{p*}/edit",
        "/files/{p:path}/edit",
        "/files/x{p*}",
        "/files/*",
        "/reports/:id",
        "/a/../b",
        "/a/./b",
        "/caf%C3%A9",
        r"/reports/(\d+)/",
        "/reports/[0-9]+/",
        "/(?:a|b)/",
        "/a|b",
        "/" + "a" * 500,
    ],
)
def test_a_route_that_cannot_match_is_refused_with_a_reason(route):
    assert refuse(route)


def test_a_regex_that_never_closes_does_not_hang_or_fail():
    assert refuse(normalise("/(?P<a[" * 1000))


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/a/{x}/b", "/a/1/b", {"x": "1"}),
        ("/a/{x}/{rest*}", "/a/1/b/c", {"x": "1", "rest": "b/c"}),
        ("/a/{rest*}", "/a/", {"rest": ""}),
        ("/a/{x}-{y}.json", "/a/1-2-3.json", {"x": "1", "y": "2-3"}),
        ("/a/b", "/a/b", {}),
    ],
)
def test_parameters_are_read_from_a_path(template, path, values):
    assert path_values(template, path) == values
