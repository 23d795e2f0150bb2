"""Waves: an organisation's default goes out to a share of the services first, always the same ones.

The rollout of its release is that share in percent. A service outside of it keeps what the release replaced; inside,
the default concerns all callers.
"""

from collections.abc import Iterator

from policies.models import Release
from policy_client.rollout import is_inside


def reaches(release: Release, service: str) -> bool:
    """Whether a release of the organisation's default has reached this service, by its slug. A larger share keeps all
    whom a smaller one had reached.
    """
    return is_inside(release.policy.reference, service, release.rollout)


def line(live: Release) -> Iterator[Release]:
    """What is live and, one after the other, what holds outside of its wave: what it replaced. Read as far as asked.

    Of a rollback that is what the release replaced that it restores, never the one that was rolled back. Whatever
    restores nothing ends the line: a default that was taken out holds for nobody.
    """
    current: Release | None = live
    while current is not None and current.revision is not None:
        yield current
        if current.rollout >= 100:
            return
        current = _before(current)


def holding(live: Release, service: str) -> Release | None:
    """The release of the organisation's default that holds for a service; None if none does."""
    return next((release for release in line(live) if reaches(release, service)), None)


def _before(release: Release) -> Release | None:
    restored = release.restored
    if restored.replaces_id is None:
        return None
    return Release.objects.select_related("policy", "revision", "restores").get(pk=restored.replaces_id)
