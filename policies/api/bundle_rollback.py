"""Rolling back a whole bundle: every policy of a service, in one environment, in one step."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.release_bodies import BundleRollbackBody
from policies.api.release_rows import BundleRollbackRow, bundle_told
from policies.api.rooms import Room
from policies.lifecycle.releasing import going_back
from policies.models import Service


class BundleRollback(Room):
    kind = "service"
    tag = "releases"
    queryset = Service.objects.filter(archived_at=None)
    lookup_field = "slug"
    bodies: ClassVar[dict[str, Any]] = {"rollback": BundleRollbackBody}
    answers: ClassVar[dict[str, Any]] = {"rollback": BundleRollbackRow}
    statuses: ClassVar[dict[str, int]] = {"rollback": 201}
    titles: ClassVar[dict[str, str]] = {"rollback": "Roll a whole bundle back"}

    def rollback(self, request: Request, slug: str) -> Response:
        """Make live again what was live of all its policies at an earlier bundle version, in one transaction.

        Only backwards: what was rolled back since stays as it is and is told, with the reason.
        """
        self.by.require("change_release")
        done = going_back.roll_back_bundle(self.find(), **self.read(), by=self.by)
        return Response(bundle_told(done, self.by.name), status=201)
