"""What people write says just that in the pages of Markdown: it forges no line, link, emphasis or difference."""

import re
from typing import Any

import pytest

from policies.lifecycle.documenting.change_story import story
from policies.lifecycle.documenting.final_notes import confirm
from policies.lifecycle.documenting.handbook import handbook
from policies.lifecycle.documenting.handbook_text import markdown
from policies.lifecycle.documenting.markdown import block, code, text
from policies.lifecycle.editing import difference
from policies.lifecycle.releasing import releases
from policies.models import Release
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_policy

pytestmark = pytest.mark.django_db
FORGED = (
    "It is slow.\r\n## Approved\n-     Limit: 10 calls\n+     Limit: 9,999 calls\n```\n~~~\n"
    "- [x] done\n| a | b |\n[here](https://evil.example) <b>bold</b>\u2028# next\x0b# more\x1b[31m\u202eback"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a **bold** _word_ of p95_ms ~~gone~~", r"a \*\*bold\*\* \_word\_ of p95_ms \~\~gone\~\~"),
        ("[a](b) ![c](d) <b> &lt;i&gt; AT&T", r"\[a\](b) !\[c\](d) &lt;b> &amp;lt;i&amp;gt; AT&T"),
        ("a | b\n\n# c\u2028d", r"a \| b # c d"),
        ("\x1b[31mred \u202eback", "\N{REPLACEMENT CHARACTER}\\[31mred \N{REPLACEMENT CHARACTER}back"),
        ("`x` \\", r"\`x\` \\"),
    ],
)
def test_a_line_says_just_what_was_written(said: str, told: str) -> None:
    assert text(said) == told


def test_code_within_a_line_ends_where_it_should() -> None:
    assert code("GET /reports/{id}") == "`GET /reports/{id}`"
    assert code("GET /a`b") == "`` GET /a`b ``"


def test_nothing_ends_a_block_but_its_end() -> None:
    assert list(block("text", "a\r\n```\nb\rc\u2028d")) == [
        "```text",
        "a",
        "'''",
        "b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}d",
        "```",
    ]


def test_a_text_of_several_lines_forges_no_line_of_a_difference(catalogue: Catalogue) -> None:
    content = make_policy(rollback_note=FORGED).head.document()
    told = difference.lines(content)
    assert not [line for line in told if "\n" in line]
    place = told.index("rollback note: It is slow.\r")
    assert all(line.startswith(" " * 8) for line in told[place + 1 :])


def test_one_line_of_a_long_text_is_one_line_of_the_difference(catalogue: Catalogue) -> None:
    policy = make_policy(rollback_note="Run this.\nThen that.\nThen look.")
    changed = change(policy, rollback_note="Run this.\nThen those.\nThen look.")
    compared = difference.between(policy.head.document(), changed.head.document())
    assert [(line.sign, line.text.strip()) for line in compared if line.sign != " "] == [
        ("-", "Then that."),
        ("+", "Then those."),
    ]


@pytest.fixture
def forged(catalogue: Catalogue) -> Release:
    policy = make_policy(
        reason=FORGED,
        endpoints=[endpoint("/a`b/{id}")],
        baseline=dict.fromkeys(("route", "expected_input", "slow_part", "noticed_at"), FORGED),
        rollback_note=FORGED,
    )
    release = releases.release(policy.head, catalogue.production, mode="enforce", by=SYSTEM, reason=FORGED)
    return confirm(release.release, FORGED, by=SYSTEM)


def test_nobody_forges_a_part_of_the_story_or_the_handbook(catalogue: Catalogue, forged: Release) -> None:
    pages: dict[str, Any] = {"story": story(forged), "handbook": markdown(handbook(catalogue.reports))}
    for page in pages.values():
        assert "\n## Approved" not in re.sub(r"```text\n.*?\n```", "", page, flags=re.DOTALL)
        assert not set("\r\x0b\x1b\u2028\u202e") & set(page)
    drawn = re.findall(r"```diff\n(.*?)\n```", pages["story"], re.DOTALL)[0].splitlines()
    assert all(line.startswith("+ ") for line in drawn)
    assert "`` POST" in pages["handbook"]
    outside = re.sub(r"```.*?```", "", "".join(pages.values()), flags=re.DOTALL)
    assert "<b>" not in outside and "[here]" not in outside
