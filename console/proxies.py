"""Whether a client came over TLS, behind proxies. Whose address it has, `policy_client.identity` says."""

from policy_client.identity import TrustedProxies

SCHEMES = ("http", "https")


def client_scheme(proxies: TrustedProxies, peer: str, forwarded_for: str, forwarded_proto: str) -> str | None:
    """The scheme of the client's own connection, as trusted proxies tell it; None if none of them does.

    Where X-Forwarded-Proto has as many entries as X-Forwarded-For, it is the entry beside the client's address
    (each proxy appended one to both); else what the proxy nearest to us said.
    """
    given = entries(forwarded_proto)
    if not given or not proxies.trusts(peer):
        return None
    hops = entries(forwarded_for)
    beside = given[-distance(proxies, hops)] if len(given) == len(hops) else given[-1]
    return beside.lower() if beside.lower() in SCHEMES else None


def distance(proxies: TrustedProxies, hops: list[str]) -> int:
    """How far from the right the client's entry stands: behind every entry that is a trusted proxy itself."""
    for steps, hop in enumerate(reversed(hops), start=1):
        if not proxies.trusts(hop):
            return steps
    return len(hops)


def entries(header: str) -> list[str]:
    """The entries of a comma-separated header; an empty one among others is malformed, not absent."""
    return [word.strip() for word in header.split(",")] if header.strip() else []
