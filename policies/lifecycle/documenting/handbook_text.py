"""The handbook of a service as Markdown."""

from collections.abc import Iterator

from policies.lifecycle.documenting.handbook import Chapter, Handbook, HeldRule, Place
from policies.lifecycle.documenting.markdown import bullets, code, text
from policies.models import Metric
from policies.publishing.moments import written
from policy_client.rules.wording import listed


def markdown(book: Handbook) -> str:
    """One page; the same for the same bundles."""
    return "\n".join(_lines(book)) + "\n"


def _lines(book: Handbook) -> Iterator[str]:
    service = book.service
    yield f"# Handbook of {text(service.name)}"
    yield ""
    about = f" {text(service.description)}" if service.description else ""
    yield f"`{service.slug}`, owned by {text(service.team.name)} ({text(service.team.email)}).{about}"
    for place in book.places:
        yield ""
        yield from _place(place)
    if not book.places:
        yield from ("", "There is no environment yet.")


def _place(place: Place) -> Iterator[str]:
    yield f"## {text(place.environment.name)}"
    yield ""
    if not place.chapters:
        yield "Nothing is live here."
    else:
        yield f"What holds by bundle version {place.version}, of {written(place.since)}; defaults first."
    if place.bare:
        yield ""
        yield "Endpoints for which nothing holds:"
        yield ""
        yield from bullets(map(code, place.bare))
    if place.waiting:
        waiting = listed([f"{policy.reference} {policy.name}" for policy in place.waiting])
        yield from ("", f"Not live here: {waiting}.")
    for chapter in place.chapters:
        yield ""
        yield from _chapter(chapter)


def _chapter(chapter: Chapter) -> Iterator[str]:
    revision, release = chapter.revision, chapter.release
    content = chapter.content
    yield f"### {chapter.policy.reference} {content['name']}, r{revision.number} ({chapter.kind})"
    yield ""
    owner = revision.owner
    yield f"- **Owner:** {text(owner.name)} (`{owner.slug}`, {text(owner.email)})"
    yield f"- **Why:** {text(revision.reason)} ({text(revision.author)})"
    if chapter.ticket:
        yield f"- **Ticket:** <{chapter.ticket}>"
    if release.released_at is not None:
        since = f"{written(release.released_at)} by {text(release.released_by)}"
        yield f"- **Live:** {release.how}, since {since}: {text(release.reason)}"
    if chapter.candidate is not None:
        yield f"- **Candidate beside it:** r{chapter.candidate}, in shadow"
    baseline = content["baseline"]
    yield f"- **Today:** {text(baseline['slow_part'])} Noticed at: {text(baseline['noticed_at'])}"
    yield f"- **Expected:** {_expected(content['expected_result'])}"
    yield f"- **How to go back:** {text(content['rollback_note'])}"
    if chapter.command:
        yield f"- **Rollback command:** `{chapter.command}`"
    yield f"- **A rollback leads to:** {text(chapter.leads_to)}"
    yield ""
    yield from _endpoints(chapter)
    yield ""
    if chapter.rules:
        yield "| Rule | In words | Values | Mode | Where every value comes from |"
        yield "| --- | --- | --- | --- | --- |"
        yield from map(_row, chapter.rules)
    else:
        yield "No rule holds."
    for removed in chapter.removed:
        yield ""
        yield f"Removed here: the {removed.title} `{removed.name}` of the {removed.origin.words}."


def _endpoints(chapter: Chapter) -> Iterator[str]:
    if chapter.policy.scope == "endpoint":
        yield "Holds for:"
    elif chapter.holds_for:
        yield "Holds for every endpoint that no policy names; of those that are declared:"
    else:
        yield "Holds for every endpoint that no policy names."
    if chapter.holds_for:
        yield ""
        yield from bullets(map(code, chapter.holds_for))


def _row(rule: HeldRule) -> str:
    origin = rule.origin.words
    if rule.mandatory:
        origin += ", mandatory"
    if rule.instead_of:
        origin += f"; instead of that of the {listed([one.words for one in rule.instead_of])}"
    cells = [text(cell) for cell in (rule.words, "; ".join(rule.values), rule.how, origin)]
    return f"| {' | '.join([f'**{rule.name}**, {rule.title}', *cells])} |"


def _expected(result: dict[str, object]) -> str:
    relative = " % of the baseline" if result["relative"] else ""
    metric = Metric(str(result["metric"])).label
    return f"{metric} {result['direction']} {result['threshold']}{relative}. {text(str(result['text']))}"
