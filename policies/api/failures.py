"""What fails before a view of this room is reached: a problem document below /api/, Django's own page elsewhere."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from policies.api.problems import CONTENT_TYPE, document

View = Callable[..., HttpResponse]

_DETAILS = {
    400: "The request cannot be understood; is its Host header one of ALLOWED_HOSTS?",
    403: "This is not allowed.",
    404: "There is no such thing here.",
    500: "The console failed at this; what happened is in its log.",
}


def _below_api(status: int, page: View) -> View:
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.path.startswith("/api/"):
            return page(request, *args, **kwargs)
        return JsonResponse(document(status, _DETAILS[status]), status=HTTPStatus(status), content_type=CONTENT_TYPE)

    return answer


bad_request = _below_api(400, defaults.bad_request)
forbidden = _below_api(403, defaults.permission_denied)
not_found = _below_api(404, defaults.page_not_found)
server_error = _below_api(500, defaults.server_error)
