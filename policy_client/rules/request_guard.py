"""Request guards: what a request must be like before anything is counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from policy_client.errors import Errors
from policy_client.fields import boolean, integer, words
from policy_client.rules.base import Rule
from policy_client.rules.parts import FIELD_NAME, METHOD
from policy_client.rules.verdict import Stage, Verdict
from policy_client.rules.watch import Watch
from policy_client.rules.wording import plural

if TYPE_CHECKING:
    from policy_client.call import Call

MAX_BODY = 2**40


class Violation(NamedTuple):
    """Why a guard lets a request not pass, as an HTTP answer says it."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestGuard(Rule):
    """Refuses requests by method, size, type, headers or for want of authentication. At least one must be asked."""

    kind: ClassVar[str] = "request_guard"
    title: ClassVar[str] = "Request guard"
    stage: ClassVar[Stage] = Stage.REQUEST
    beyond_logs: ClassVar[str] = "a log has neither headers nor bodies"

    methods: tuple[str, ...] = words(
        label="Methods",
        help="Only these are let through, for example POST. GET includes HEAD. Empty: all that the policy covers.",
        placeholder="POST",
        normalise=str.upper,
        pattern=METHOD,
        pattern_help="Must be a method such as POST.",
        max_items=20,
    )
    max_body: int | None = integer(
        1,
        MAX_BODY,
        label="Largest body",
        unit="bytes",
        help="1048576 is 1 MiB. Counted while it is read, whatever it announces. Empty: no bound.",
        placeholder="1048576",
        default=None,
        nullable=True,
    )
    content_types: tuple[str, ...] = words(
        label="Content types",
        help="What a body may be, for example application/json or image/*. Empty: anything.",
        placeholder="application/json",
        normalise=str.lower,
        pattern=rf"{FIELD_NAME}/{FIELD_NAME}",
        pattern_help="Must be a type without parameters, such as application/json.",
    )
    required_headers: tuple[str, ...] = words(
        label="Required headers",
        help="Names of headers that must be there, for example idempotency-key.",
        placeholder="idempotency-key",
        normalise=str.lower,
        pattern=FIELD_NAME,
        pattern_help="Must be the name of a header.",
    )
    require_authenticated: bool = boolean(
        label="Must be logged in",
        help="Calls of somebody whom the service does not know are answered 401.",
        default=False,
    )

    @classmethod
    def complete(cls, values: dict[str, Any], path: str, errors: Errors) -> dict[str, Any]:
        asked = ("methods", "max_body", "content_types", "required_headers", "require_authenticated")
        if not any(values[name] for name in asked):
            errors[path] = ["A guard must ask for something: " + ", ".join(asked) + "."]
        return values

    def looks_at(self) -> Iterable[str]:
        who = ("user", "authenticated") if self.require_authenticated else ()
        return ("body", *who, *(f"header:{name}" for name in self.required_headers))

    def violation(self, call: Call) -> Violation | None:  # noqa: PLR0911 - one for each thing that is asked
        """The first thing about `call` that this guard refuses: method, authentication, headers, type, size.

        Nothing where there is no HTTP request: a job has neither method nor body to look at.
        """
        if not call.method:
            return None
        if self.methods and call.method not in self.methods and not (call.method == "HEAD" and "GET" in self.methods):
            allowed = ", ".join((*self.methods, "HEAD") if "GET" in self.methods else self.methods)
            return Violation(405, f"The method {call.method} is not allowed here.", (("Allow", allowed),))
        if self.require_authenticated and not (call.authenticated or call.user):
            return Violation(401, "This needs authentication.", (("WWW-Authenticate", "Bearer"),))
        for name in self.required_headers:
            if name not in call.headers:
                return Violation(400, f"The header {name} is required.")
        if self.content_types and _has_body(call) and not self._takes(call.content_type):
            accepted = ", ".join(self.content_types)
            return Violation(415, f"The content type must be one of: {accepted}.", (("Accept", accepted),))
        if self.max_body is not None and (call.content_length or 0) > self.max_body:
            return Violation(413, self.overstepped())
        return None

    def verdict(self, call: Call) -> Verdict:
        """A body whose length is not announced is judged while it is read."""
        violation = self.violation(call)
        if violation is not None:
            return Verdict("denies", status=violation.status, detail=violation.detail)
        if self.max_body is None or call.content_length is not None or not call.method:
            return Verdict("passes", "lets it pass")
        most = plural(self.max_body, "byte")
        words = f"lets it pass so far, and counts its body while that is read: at most {most}"
        return Verdict("runs", words, 413, self.overstepped(), unless=f"its body has at most {most}")

    def watch(self) -> Watch | None:
        if self.max_body is None:
            return None
        return Watch("bytes", self.max_body, 413, "guard", self.overstepped())

    def overstepped(self) -> str:
        """The detail of a denial for the size of the body."""
        return f"The body is larger than {plural(self.max_body or 0, 'byte')}."

    def _takes(self, content_type: str | None) -> bool:
        essence = (content_type or "").partition(";")[0].strip().lower()
        return any(
            essence == accepted or (accepted.endswith("/*") and essence.startswith(accepted[:-1]))
            for accepted in self.content_types
        )

    def does(self) -> str:
        asks = []
        if self.methods:
            asks.append(f"the method is {' or '.join(self.methods)}")
        if self.require_authenticated:
            asks.append("the caller is logged in")
        if self.required_headers:
            noun = "header" if len(self.required_headers) == 1 else "headers"
            asks.append(f"the {noun} {' and '.join(self.required_headers)} {'is' if noun == 'header' else 'are'} there")
        if self.content_types:
            asks.append(f"a body is of type {' or '.join(self.content_types)}")
        if self.max_body is not None:
            asks.append(f"a body has at most {plural(self.max_body, 'byte')}")
        return f"Lets a request through only if {', '.join(asks)}."


def _has_body(call: Call) -> bool:
    """As far as one can know before it is read: what says of which type it is will have one."""
    announced = bool(call.content_length) or "transfer-encoding" in call.headers
    return announced or (call.unannounced and call.content_length is None and call.content_type is not None)
