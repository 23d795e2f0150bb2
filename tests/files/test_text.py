"""The text of a file: what is written is read back exactly, by us and by others; what is odd is refused by its line."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as some

from policies.files import reading, writing
from policies.files.reading import MAX_SIZE, Unreadable, read

TEXT = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
LOOKALIKES = some.sampled_from(
    [
        *(
            "no",
            "No",
            "on",
            "off",
            "yes",
            "y",
            "N",
            "true",
            "True",
            "null",
            "~",
            "",
            " ",
            "-",
            "=",
            "<<",
            "?",
            "#",
            "&a",
        ),
        *("1", "-0", "+1", "007", "0o17", "0x1F", "1_000", "1e5", "1E-7", ".5", "5.", "1.0", ".inf", ".nan", "1:30"),
        *("2026-11-22", "2026-11-22T10:00:00Z", "a: b", "a #b", "a\nb", "a \nb", "a\n\nb\n", "\na", " a\nb", "a\n\n"),
        *("a\r\nb", "\ta", "a\tb\nc", "%x", "@x", "`x`", "{x}", "[x]", "*x", "!x", "|", ">", "---", "...", "a\n---\nb"),
        *("\ufeffa", "a\x85b", "a\u2028b", "\x7f", "\x1b[0m", "é", "漢字", "🙂", "'", '"', "\\", "'a'", "x" * 3000),
    ]
)
ANY_TEXT = some.one_of(TEXT, LOOKALIKES, some.lists(LOOKALIKES | TEXT, max_size=4).map("\n".join))
SCALARS = some.one_of(
    ANY_TEXT,
    some.none(),
    some.booleans(),
    some.integers(-(10**17), 10**17),
    some.floats(allow_nan=False, allow_infinity=False),
)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=12
)


def written(*policies: dict[str, Any]) -> str:
    return "".join(writing.write(policies))


def refused(text: str | bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read(text.encode() if isinstance(text, str) else text)
    return caught.value


@settings(max_examples=80, deadline=None)
@given(some.dictionaries(ANY_TEXT, VALUES, max_size=5))
@example({"text": "a\n b\n\n  c"})
@example({"text": "a\n\n\n b\n"})
def test_whatever_is_written_is_read_back_exactly(policy: dict[str, Any]) -> None:
    text = written(policy)
    back = read(text.encode()).value
    assert back == {"format": 1, "policies": [policy]}
    assert repr(written(*back["policies"])) == repr(text)


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT)
def test_another_reader_gets_the_same_text(text: str) -> None:
    assert yaml.safe_load(written({"text": text}))["policies"] == [{"text": text}]


def test_people_read_keys_in_an_order_that_tells_a_story() -> None:
    policy = {
        "rollback_note": "Roll back.\nThen say so.",
        "rules": [
            {"window": 60, "limit": 5, "key": [], "when": [{"method": ["GET"]}], "name": "x", "kind": "rate_limit"}
        ],
        "owner": "team-data",
        "baseline": {"slow_part": "c", "noticed_at": "d", "expected_input": "b", "route": "a"},
        "endpoints": [{"route": "/a", "name": "a", "methods": ["GET"]}],
        "zebra": 1,
        "name": "no",
        "revision": 2,
        "reference": "POL-0001",
    }
    assert written(policy) == (
        writing.HEAD
        + """\
policies:
- reference: POL-0001
  revision: 2
  name: 'no'
  owner: team-data
  endpoints:
  - name: a
    methods:
    - GET
    route: /a
  rules:
  - kind: rate_limit
    name: x
    key: []
    limit: 5
    window: 60
    when:
    - method:
      - GET
  baseline:
    route: a
    expected_input: b
    slow_part: c
    noticed_at: d
  rollback_note: |-
    Roll back.
    Then say so.
  zebra: 1
"""
    )
    assert written() == f"{writing.HEAD}policies: []\n"


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        *(("no", "no"), ("on", "on"), ("Yes", "Yes"), ("TRUE", "TRUE"), ("1_000", "1_000"), ("012", "012")),
        *(("0x1F", "0x1F"), ("1:30", "1:30"), ("2026-11-22", "2026-11-22"), (".5", ".5"), (".inf", ".inf")),
        *(("'12'", "12"), ('"true"', "true"), ("12", 12), ("-1.5e3", -1500.0), ("true", True), ("~", None), ("", None)),
        *(("[a, 1]", ["a", 1]), ("{}", {}), ("# nothing", None), ("|-\n  a\n  b", "a\nb"), (">\n  a\n  b", "a b\n")),
    ],
)
def test_text_stays_text(typed: str, value: Any) -> None:
    assert read(f"x: {typed}\n".encode()).value == {"x": value}


def test_keys_are_always_text() -> None:
    assert read(b"on: 1\n1: 2\nnull: 3\n").value == {"on": 1, "1": 2, "null": 3}


def test_every_part_has_its_line() -> None:
    file = read(b"\xef\xbb\xbfa:\r\n- b: 1\r\n  c:\r\n\r\n  - 2\r\n- d: [3,\r\n  4]\r\n")
    assert file.value == {"a": [{"b": 1, "c": [2]}, {"d": [3, 4]}]}
    lines = {"a": 1, "a.0": 2, "a.0.b": 2, "a.0.c": 3, "a.0.c.0": 5, "a.1.d": 6, "a.1.d.1": 7, "": 1}
    assert {path: file.line_of(path) for path in lines} == lines
    assert file.line_of("a.1.missing.0.x") == 6


BROKEN = [
    ("", 1, "is empty"),
    ("  \n\n", 1, "is empty"),
    ("# nothing\n", 1, "is empty"),
    ("a: 1\nb: 2\na: 3\n", 3, "a stands here twice, first on line 1"),
    ("a:\n- &x {b: 1}\n- *x\n", 2, "&x names a part to be repeated"),
    ("a: *x\n", 1, "*x repeats another part; write it out"),
    ("a: 1\nb: !!python/object:os.system x\n", 2, "tag"),
    ("a: !custom 1\n", 1, "leave it out"),
    ("a: !!str 1\n", 1, "leave it out"),
    ("a: 1\n---\nb: 2\n", 3, "second document"),
    ("a:\n\tb: 1\n", 2, "indent with blanks"),
    ("a: b: c\n", 1, "needs quotes"),
    ("a: [1, 2\nb: 3\n", 2, "indentation"),
    ("a: 'x\nb: 1\nc: 2\n", 1, "while scanning a quoted scalar"),
    ("a: 1\n b: 2\n", 2, "indentation"),
    ("a: {x}: 1\n", 1, "needs quotes"),
    ("? [a]\n: 1\n", 1, "a key must be a word"),
    ("a: 1\nb: \x07\n", 2, 'write it in double quotes as "\\u0007"'),
    ("a: 1\nb: x\0\n", 2, "no database keeps"),
    ("a: 1\n# looked at by all of us \u2028b: 2\n", 2, "U+2028"),
    ('a: 1\nb: "x \u2029 y"\n', 2, 'write it in double quotes as "\\u2029"'),
    ("a: 1\nb: x\x85 y\n", 2, "U+0085"),
    (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
    ("a: 1234567890123456789\n", 1, "put it in quotes"),
    ("a: 1e999\n", 1, "too large"),
    ("a: " + "[" * 50 + "]" * 50, 1, "deeper than 32"),
    ("x" * (MAX_SIZE + 1), 1, "Split it"),
    ("@a: 1\n", 1, "needs quotes"),
    ('a: 1\nb: "\\0"\n', 2, "no database keeps"),
    ('"\\0": 1\n', 1, "no database keeps"),
    ('a: "\\ud800"\n', 1, "."),
    ("%YAML 9.9\n---\na: 1\n", 1, "YAML"),
]


@pytest.mark.parametrize(("text", "line", "words"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_refused_by_line_and_says_how_to_mend_it(text: str | bytes, line: int, words: str) -> None:
    fault = refused(text)
    assert fault.line == line and words in fault.message
    assert re.match(rf"Line {line}: \S", str(fault)) and fault.message.endswith(".")


def test_too_many_values_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_VALUES", 100)
    fault = refused("- a\n" * 200)
    assert fault.line == 100 and "Split it by service" in fault.message


def test_no_bomb_goes_off() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))
    assert "names a part" in refused(bomb).message
    assert "deeper" in refused("[" * 100_000).message
    assert "deeper" in refused("- " * 100_000).message
    assert "deeper" in refused("{a: " * 100_000).message


@pytest.mark.parametrize("loader", [reading._Loader, yaml.SafeLoader])
def test_no_text_whatever_makes_the_reader_fail(monkeypatch: pytest.MonkeyPatch, loader: Any) -> None:
    monkeypatch.setattr(reading, "_Loader", loader)
    odd = some.sampled_from([r'"\ud800"', r'"\U00110000"', r'"\0": "\U0000d800"', "[" * 3000, "- " * 3000])

    @settings(max_examples=100, deadline=None)
    @given(odd | some.text(max_size=40) | some.text("-:[]{}&*!|>#'\"%@`? \n\tab1,\\", max_size=40))
    def tried(text: str) -> None:
        body = text.encode("utf-8", "surrogatepass")
        try:
            repr(read(body).value).encode()
        except Unreadable as fault:
            assert 1 <= fault.line <= body.count(b"\n") + body.count(b"\r") + 3

    tried()


def test_both_readers_of_the_library_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    body = written({"text": "no\n\n- yes: 1 #\n", "a": {"b": ["1", 1, 1.5, None, True, [], {}]}, "é": "🙂\t"}).encode()
    file = read(body)
    monkeypatch.setattr(reading, "_Loader", yaml.SafeLoader)
    assert read(body) == file
