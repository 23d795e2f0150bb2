"""Route templates: the frameworks' ways of writing them brought into one form.

`/reports/{pk}/export`; a last parameter that spans slashes is `{p*}`. Templates are compared without the names of
their parameters.
"""

from __future__ import annotations

import re

from policy_client.trie import captured

MAX_ROUTE = 500

# Django and Flask: <pk>, <int:pk>, <path:p>, <any(a,b):x>. Starlette and FastAPI: {pk}, {pk:int}, {p:path}. Ours: {p*}.
_ANGLED = re.compile(r"<(?:([A-Za-z_]\w*)(?:\([^<>]*\))?:)?([A-Za-z_]\w*)>")
_BRACED = re.compile(r"\{([A-Za-z_]\w*)(?::([A-Za-z_]\w*)|(\*))?\}")
_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)(\*?)\}")


def normalise(route: str) -> str:
    """The one form of a template, as typed or as a framework reports it; named groups of a regex become parameters.

    What has no such form (unnamed groups, alternatives) is left as it is; `refuse` says so.
    """
    if "(" in route or "\\" in route or "^" in route:
        route = _from_regex(route)
    elif route.endswith("$") and len(route) > 1:
        route = route[:-1]
    route = _ANGLED.sub(lambda found: _parameter(found[2], found[1] == "path"), route)
    return _BRACED.sub(lambda found: _parameter(found[1], found[2] == "path" or found[3] == "*"), route)


def canonical(route: str) -> str:
    """A normalised template without the names of its parameters: /a/{}/b, /files/{*}."""
    return _PARAMETER.sub(lambda found: "{*}" if found[2] else "{}", route)


def parameters(route: str) -> tuple[str, ...]:
    """The names of the parameters of a normalised template."""
    return tuple(found[1] for found in _PARAMETER.finditer(route))


def path_values(template: str, path: str) -> dict[str, str]:
    """What the parameters of a normalised template are in a path that matches it."""
    values: dict[str, str] = {}
    segments = path.split("/")
    for position, part in enumerate(template.split("/")):
        names = [(found[1], found[2]) for found in _PARAMETER.finditer(part)]
        if names and names[0][1]:
            values[names[0][0]] = "/".join(segments[position:])
        elif names:
            pieces = tuple(_PARAMETER.sub("\0", part).split("\0"))
            found = captured(pieces, segments[position]) or []
            values.update(zip([name for name, _ in names], found, strict=False))
    return values


def refuse(route: str) -> str | None:
    """Why a template, as typed, can never match a call; None if it can."""
    for holds, message in _COMPLAINTS:
        if holds(route):
            return message
    return _refuse_form(normalise(route))


def _refuse_form(form: str) -> str | None:
    left = re.sub(_PARAMETER, "", form)
    if "{" in left or "}" in left or "<" in left or ">" in left:
        return "The brackets of a parameter are not balanced, or its name is not one; write {report_id}."
    if found := re.search(r"[()\[\]|^*\\]", left):
        return f"Only named parameters such as {{report_id}} can be matched by route, not {found[0]!r}."
    names = parameters(form)
    if len(set(names)) != len(names):
        return "A parameter is there twice."
    if re.search(r"\}\{", form):
        return "Two parameters need something between them."
    if re.search(r"\*\}.", form) or re.search(r"[^/]\{[A-Za-z_]\w*\*\}", form):
        return "A parameter that spans slashes must be the whole last part: /files/{path*}."
    return None


_COMPLAINTS = (
    (lambda route: not route.startswith("/"), "Must begin with a slash, such as /reports/{report_id}/export."),
    (lambda route: len(route) > MAX_ROUTE, f"Must have at most {MAX_ROUTE} characters."),
    (
        lambda route: "?" in re.sub(r"\(\?P<", "", route),
        "The query is not part of a route; leave out everything from ? on.",
    ),
    (lambda route: "#" in route, "A fragment never reaches the service; leave out everything from # on."),
    (lambda route: re.search(r"[\s\x00-\x1f\x7f]", route), "Must not contain white space."),
    (lambda route: "//" in route, "Must not have an empty part (//), and neither scheme nor host."),
    (lambda route: re.search(r"/\.\.?(/|$)", route), "The parts . and .. never reach the service."),
    (lambda route: re.search(r"%[0-9A-Fa-f]{2}", route), "Write characters as they are, not percent-encoded."),
    (lambda route: re.search(r"/:\w", route), "Write a parameter as {report_id}, not as :report_id."),
)


def _parameter(name: str, spans: bool) -> str:
    return f"{{{name}*}}" if spans else f"{{{name}}}"


def _from_regex(route: str) -> str:
    """Named groups to parameters, anchors away, escapes of plain characters undone."""
    result: list[str] = []
    position = 0
    while position < len(route):
        character = route[position]
        if route.startswith("(?P<", position):
            end = _group_end(route, position)
            name, _, inside = route[position + 4 : end].partition(">")
            result.append(_parameter(name, _spans(inside)))
            position = end + 1
        elif character == "\\" and position + 1 < len(route):
            follower = route[position + 1]
            if follower not in "Zz" or position + 2 < len(route):
                result.append(follower if not follower.isalnum() else character + follower)
            position += 2
        else:
            last = position == len(route) - 1
            if character != "^" and not (character == "$" and last):
                result.append(character)
            position += 1
    return "".join(result)


def _group_end(route: str, start: int) -> int:
    """Where the group that opens at `start` closes; the end of the text if it never does."""
    depth, position, in_class = 0, start, False
    while position < len(route):
        character = route[position]
        if character == "\\":
            position += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return len(route)


def _spans(expression: str) -> bool:
    """Whether a group of a regex matches slashes, too: it has a bare dot, or a slash outside a negated class."""
    plain = re.sub(r"\\.", "", re.sub(r"\[\^[^\]]*\]", "", expression))
    return "." in re.sub(r"\[[^\]]*\]", "", plain) or "/" in plain
