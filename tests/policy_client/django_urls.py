"""A small Django project for the adapter's tests: views of every kind."""

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from django.views.generic import RedirectView
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from policy_client import PolicyDenied, protect


def thing(request, n=0):
    return JsonResponse({"n": n})


def deep(request, zone, n):
    return JsonResponse({"n": n})


async def athing(request, n=0):
    return JsonResponse({"n": n})


@protect("named")
def named(request):
    return HttpResponse("named")


@protect("anamed")
async def anamed(request):
    return HttpResponse("anamed")


@protect("posted")
@require_POST
def posted(request):
    return HttpResponse("posted")


@protect("inner")
def inner():
    return "inner"


def calls_inner(request):
    try:
        return HttpResponse(inner())
    except PolicyDenied as denied:
        return HttpResponse(f"denied by {denied.decision.rule}")


async def acalls_inner(request):
    return calls_inner(request)


class Shelf(View):
    @protect("shelf.get")
    def get(self, request):
        return HttpResponse("get")

    @method_decorator(protect("shelf.post"))
    def post(self, request):
        return HttpResponse("post")


@method_decorator(protect("ashelf"), name="dispatch")
class AsyncShelf(View):
    async def get(self, request):
        return HttpResponse("get")


class Plain(View):
    def get(self, request, n):
        return JsonResponse({"n": n})

    def post(self, request, n):
        return JsonResponse({"posted": n})


class AsyncPlain(View):
    async def get(self, request, n):
        return JsonResponse({"n": n})

    async def post(self, request, n):
        return JsonResponse({"posted": n})


class Answering(View):
    """Answers every method itself."""

    def dispatch(self, request):
        return HttpResponse(request.method)


@method_decorator(never_cache, name="dispatch")
class Redirecting(RedirectView):
    url = "/elsewhere"


def stream(request):
    return StreamingHttpResponse(iter([b"0", b"1"]))


def broken(request):
    raise LookupError("mine")


class Person:
    is_authenticated = True

    def __init__(self, name):
        self.pk = name


class ByHeader(BaseAuthentication):
    def authenticate(self, request):
        name = request.META.get("HTTP_X_USER")
        return (Person(name), None) if name else None

    def authenticate_header(self, request):
        return "Header"


class Api(APIView):
    authentication_classes = [ByHeader]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": getattr(request.user, "pk", None)})


class OwnWay(Api):
    """Leaves authentication to whoever asks for the user first."""

    def perform_authentication(self, request):
        pass


class Custom(Api):
    """Answers every exception in a way of its own."""

    def handle_exception(self, exc):
        return Response({"mine": str(exc)}, status=400)


class NamedApi(Api):
    @protect("api.named")
    def get(self, request):
        return Response({"user": request.user.pk})


@api_view(["GET"])
@permission_classes([])
@protect("api.function")
def api_function(request):
    return Response({"done": True})


urlpatterns = [
    path("things/<int:n>/", thing),
    path("athings/<int:n>/", athing),
    path("named", named),
    path("anamed", anamed),
    path("posted", posted),
    path("outer", calls_inner),
    path("aouter", acalls_inner),
    path("shelf", Shelf.as_view()),
    path("ashelf", AsyncShelf.as_view()),
    path("plain/<int:n>", Plain.as_view()),
    path("aplain/<int:n>", AsyncPlain.as_view()),
    path("answering", Answering.as_view()),
    path("redirecting", Redirecting.as_view()),
    path("stream", stream),
    path("broken", broken),
    path("deep/<slug:zone>/", include([re_path(r"^old/(?P<n>[0-9]{1,4})/$", deep)])),
    path("files/<path:n>", thing),
    path("api", Api.as_view()),
    path("api/own-way", OwnWay.as_view()),
    path("api/custom", Custom.as_view()),
    path("api/named", NamedApi.as_view()),
    path("api/function", api_function),
]


class WhoMiddleware:
    """Stands where Django's AuthenticationMiddleware does: `X-User` is who is logged in."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        name = request.headers.get("X-User")
        person = Person(name) if name else None
        request.asked = []

        async def auser():
            request.asked.append("auser")
            return person

        request.user = person
        request.auser = auser
        response = self.get_response(request)
        response["X-Asked"] = ",".join(request.asked)
        return response


class BrokenLogin(WhoMiddleware):
    """The sessions are in a database that is down."""

    def __call__(self, request):
        class Nobody:
            @property
            def is_authenticated(self):
                raise ConnectionError("no database")

        async def auser():
            return Nobody()

        request.user = Nobody()
        request.auser = auser
        return self.get_response(request)


class BrokenRequest(WhoMiddleware):
    """Somebody has put nonsense where the server's word about the client is."""

    def __call__(self, request):
        request.META = None
        return self.get_response(request)
