import json

import pytest

from policy_client.replay.lines import Line, parse_line

NOON = 1_431_864_303.0  # 17 May 2015, 12:05:03 UTC


def common(request="GET /a/b?x=1 HTTP/1.1", ip="192.0.2.7", time="17/May/2015:12:05:03 +0000", rest="200 17"):
    return f'{ip} - - [{time}] "{request}" {rest}'


@pytest.mark.parametrize(
    "text",
    [
        common(),
        common() + ' "http://example.com/ \\"x\\"" "Mozilla/5.0 (X11) [en]"',
        common(time="17/May/2015:14:05:03 +0200"),
        common(time="17/May/2015:03:35:03 -0830"),
        common(rest="304 -"),
        common(request="get /a/b?x=1"),
        common(request="GET http://example.com/a/b?x=1 HTTP/1.1"),
        common(request="GET /a/%62?x=1 HTTP/2.0"),
        common().replace(" - - ", " - Jane [the] Doe "),
        json.dumps(
            {"time": "2015-05-17T12:05:03Z", "ip": "192.0.2.7", "method": "GET", "path": "/a/b?x=1", "status": 200}
        ),
        json.dumps(
            {"status": "200", "path": "/a/b?x=1", "method": "get", "ip": "192.0.2.7", "time": NOON, "more": [1]}
        ),
        json.dumps(
            {
                "time": "2015-05-17T14:05:03+02:00",
                "ip": "192.0.2.7",
                "method": "GET",
                "path": "/a/%62?x=1",
                "status": 200,
            }
        ),
    ],
)
def test_every_format_says_the_same(text):
    assert parse_line(text) == Line(NOON, "192.0.2.7", "GET", "/a/b", "x=1")


def test_paths_come_decoded():
    assert parse_line(common(request="GET /caf%C3%A9%20x HTTP/1.1")).path == "/café x"
    assert parse_line(common(request='GET /a\\"b\\x41 HTTP/1.1')).path == '/a"bA'
    assert parse_line(common(request="OPTIONS * HTTP/1.1")).path == "*"
    assert parse_line(common(request="GET http://example.com HTTP/1.1")).path == "/"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        common(request="-"),
        common(request=""),
        common(request="\\x16\\x03\\x01"),
        common(request="GET"),
        common(ip="-"),
        common(ip="x" * 200),
        common(time="31/Feb/2015:12:05:03 +0000"),
        common(time="17/Mai/2015:12:05:03 +0000"),
        common(time="17/May/2015:25:05:03 +0000"),
        common(time="17/May/2015:12:05:61 +0000"),
        common(time="17/May/2015:12:05:03"),
        common(rest="ok 17"),
        common()[:-4],
        "{",
        "{}",
        "[" * 10_000,
        '{"a":' * 10_000,
        json.dumps({"time": "2015-05-17T12:05:03", "ip": "192.0.2.7", "method": "GET", "path": "/", "status": 200}),
        json.dumps({"time": True, "ip": "192.0.2.7", "method": "GET", "path": "/", "status": 200}),
        json.dumps({"time": 1e300, "ip": "192.0.2.7", "method": "GET", "path": "/", "status": 200}),
        json.dumps({"time": NOON, "ip": 7, "method": "GET", "path": "/", "status": 200}),
        json.dumps({"time": NOON, "ip": "a b", "method": "GET", "path": "/", "status": 200}),
        json.dumps({"time": NOON, "ip": "192.0.2.7", "method": "GET /", "path": "/", "status": 200}),
        json.dumps({"time": NOON, "ip": "192.0.2.7", "method": "GET", "path": None, "status": 200}),
        json.dumps({"time": NOON, "ip": "192.0.2.7", "method": "GET", "path": "/"}),
        json.dumps({"time": NOON, "ip": "192.0.2.7", "method": "GET", "path": "/", "status": True}),
    ],
)
def test_a_malformed_line_is_none(text):
    assert parse_line(text) is None


def test_hostile_lines_do_not_take_long():
    for text in ("[" * 60_000, "a - " + "[" * 60_000, common(request="\\" * 60_000), 'a - - "' + '\\"' * 30_000):
        assert parse_line(text) is None
