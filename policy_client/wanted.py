"""What of a request an entry looks at, so that an adapter gathers nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Wanted(NamedTuple):
    """`who`: anything that `identify` or the framework's user could tell, of which `user` and `authenticated` are
    parts. `body`: what the headers say of it, so `headers` are wanted with it."""

    who: bool
    user: bool
    authenticated: bool
    ip: bool
    body: bool
    headers: bool
    query: bool
    cookies: bool
    path_params: bool

    @classmethod
    def of(cls, needs: frozenset[str]) -> Wanted:
        """By parts such as "user", "ip" or "header:x-client"."""
        kinds = {need.partition(":")[0] for need in needs}
        return cls(
            who=not kinds.isdisjoint(("user", "tenant", "api_key", "authenticated", "attr")),
            user="user" in kinds,
            authenticated="authenticated" in kinds,
            ip="ip" in kinds,
            body="body" in kinds,
            headers=not kinds.isdisjoint(("header", "body")),
            query="query" in kinds,
            cookies="cookie" in kinds,
            path_params="path" in kinds,
        )
