"""The paths of REST, below /api/."""

from django.http import Http404
from django.urls import Resolver404, include, path, re_path, resolve
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from policies.api.audit import Audit
from policies.api.bundle_rollback import BundleRollback
from policies.api.catalogue import Environments, Services, Teams
from policies.api.checklists import Checklists, Checks, ReleaseChecklist
from policies.api.documentation import Documentation
from policies.api.endpoints import Endpoints
from policies.api.explain import Explain
from policies.api.grants import Grants
from policies.api.holds import Holds
from policies.api.overrides import Overrides
from policies.api.policies import Policies
from policies.api.policy_files import PolicyFiles
from policies.api.problems import Problem
from policies.api.releases import Releases
from policies.api.services import Bundle, Telemetry
from policies.api.switches import Switches


class Nowhere(APIView):
    """Whatever is not a path here: a problem document like every other error.

    It answers all methods, and so stands in for Django's redirect to the path with a slash at its end.
    """

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        if self._is_path(f"{request.path}/"):
            raise Problem(404, f"There is no such path; {request.path}/ is one, with a slash at its end.")
        raise Http404

    def _is_path(self, path: str) -> bool:
        try:
            return getattr(resolve(path).func, "cls", None) is not type(self)
        except Resolver404:
            return False


EXPORT = {"detail": False, "pagination_class": None}

router = SimpleRouter()
router.register("teams", Teams, basename="team")
router.register("services", Services, basename="service")
router.register("environments", Environments, basename="environment")
router.register("endpoints", Endpoints, basename="endpoint")
router.register("policies", Policies, basename="policy")
router.register("releases", Releases, basename="release")
router.register("holds", Holds, basename="hold")
router.register("switches", Switches, basename="switch")
router.register("grants", Grants, basename="grant")
router.register("overrides", Overrides, basename="override")
router.register("audit", Audit, basename="audit")
router.register("checklists", Checklists, basename="checklisttemplate")

urlpatterns = [
    path("schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("docs/", Documentation.as_view(), name="api-docs"),
    path("v1/bundle", Bundle.as_view(), name="bundle"),
    path("v1/telemetry", Telemetry.as_view(), name="telemetry"),
    path("v1/checks/", Checks.as_view(), name="checks"),
    re_path(
        r"^v1/releases/(?P<id>[0-9]{1,18})/checklist/(?P<item>[0-9]{1,3})/\Z",
        ReleaseChecklist.as_view({"post": "checklist"}, detail=True),
        name="release-checklist",
    ),
    re_path(
        r"^v1/services/(?P<slug>[a-z0-9][a-z0-9-]{0,62})/rollback/\Z",
        BundleRollback.as_view({"post": "rollback"}, detail=True),
        name="service-rollback",
    ),
    path("v1/explain/", Explain.as_view({"post": "explain"}), name="explain"),
    path("v1/audit/export.jsonl", Audit.as_view({"get": "export"}, **EXPORT), name="audit-export"),
    path("v1/audit/export.csv", Audit.as_view({"get": "export_csv"}, **EXPORT), name="audit-export-csv"),
    path("v1/policies/export.yaml", PolicyFiles.as_view({"get": "export_file"}, **EXPORT), name="policy-export"),
    path("v1/policies/import/", PolicyFiles.as_view({"post": "import_file"}, **EXPORT), name="policy-import"),
    path("v1/", include(router.urls)),
    re_path("", Nowhere.as_view()),
]
