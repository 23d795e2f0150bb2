"""How a view is asked for its name and its methods, whatever lies around it."""

import functools

import pytest
from django.contrib.auth.mixins import LoginRequiredMixin
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from flask.views import MethodView
from flask.views import View as FlaskView
from rest_framework.decorators import api_view
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet
from starlette.endpoints import HTTPEndpoint

from policy_client import protect
from policy_client.views import about


@protect("plain")
def plain(request):
    pass


@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
@protect("wrapped")
def wrapped(request):
    pass


@protect("outside")
@require_POST
def outside(request):
    pass


class Methods(View):
    @protect("methods.get")
    def get(self, request):
        pass

    @method_decorator(protect("methods.post"))
    def post(self, request):
        pass

    def put(self, request):
        pass


@method_decorator(protect("whole"), name="dispatch")
class Whole(View):
    async def get(self, request):
        pass


@method_decorator(never_cache, name="dispatch")
class Below(Methods):
    http_method_names = ["get"]


class Api(APIView):
    @protect("api.post")
    def post(self, request):
        pass


@api_view(["GET"])
@protect("api.function")
def api_function(request):
    pass


class Shelf(ViewSet):
    @protect("shelf.list")
    def list(self, request):
        pass

    def create(self, request):
        pass


class Endpoint(HTTPEndpoint):
    @protect("endpoint.get")
    async def get(self, request):
        pass


class Answering(View):
    """Answers every method itself."""

    def dispatch(self, request):
        pass


class OwnEndpoint(HTTPEndpoint):
    async def dispatch(self):
        pass


class SignedIn(LoginRequiredMixin, Methods):
    pass


class FlaskMethods(MethodView):
    @protect("flask.get")
    def get(self):
        pass


class FlaskWhole(MethodView):
    decorators = [csrf_exempt, protect("flask.whole"), never_cache]

    def get(self):
        pass


class FlaskSingle(FlaskView):
    @protect("flask.single")
    def dispatch_request(self):
        pass


def named(view, method):
    protection = about(view, method).protection
    return protection.name if protection else None


@pytest.mark.parametrize(
    ("view", "method", "name"),
    [
        (plain, "GET", "plain"),
        (wrapped, "POST", "wrapped"),
        (outside, "POST", "outside"),
        (functools.partial(plain, 1), "GET", "plain"),
        (Methods.as_view(), "GET", "methods.get"),
        (Methods.as_view(), "HEAD", "methods.get"),
        (Methods.as_view(), "POST", "methods.post"),
        (Methods.as_view(), "PUT", None),
        (csrf_exempt(Methods.as_view()), "POST", "methods.post"),
        (protect("all")(Methods.as_view()), "GET", "all"),
        (Whole.as_view(), "GET", "whole"),
        (Below.as_view(), "GET", "methods.get"),
        (Api.as_view(), "POST", "api.post"),
        (api_function, "GET", "api.function"),
        (Shelf.as_view({"get": "list", "post": "create"}), "GET", "shelf.list"),
        (Shelf.as_view({"get": "list", "post": "create"}), "HEAD", "shelf.list"),
        (Shelf.as_view({"get": "list", "post": "create"}), "POST", None),
        (Endpoint, "GET", "endpoint.get"),
        (Endpoint, "HEAD", "endpoint.get"),
        (Answering.as_view(), "GET", None),
        (FlaskMethods.as_view("x"), "GET", "flask.get"),
        (FlaskMethods.as_view("x"), "HEAD", "flask.get"),
        (FlaskMethods.as_view("x"), "POST", None),
        (FlaskWhole.as_view("x"), "GET", "flask.whole"),
        (FlaskSingle.as_view("x"), "POST", "flask.single"),
        (lambda request: None, "GET", None),
    ],
)
def test_the_name_is_found(view, method, name) -> None:
    assert named(view, method) == name
    assert named(view, method) == name  # also where it is remembered


@pytest.mark.parametrize(
    ("view", "method", "expected"),
    [
        (plain, "DELETE", True),
        (wrapped, "POST", True),
        (wrapped, "DELETE", False),
        (outside, "GET", False),
        (protect("all")(outside), "GET", False),
        (Methods.as_view(), "GET", True),
        (Methods.as_view(), "HEAD", True),
        (Methods.as_view(), "OPTIONS", True),
        (Methods.as_view(), "DELETE", False),
        (Methods.as_view(), "BREW", False),
        (require_POST(Methods.as_view()), "GET", False),
        (protect("all")(require_POST(Methods.as_view())), "GET", False),
        (SignedIn.as_view(), "DELETE", False),
        (Answering.as_view(), "DELETE", True),
        (Answering.as_view(), "BREW", True),
        (OwnEndpoint, "DELETE", True),
        (FlaskMethods.as_view("x"), "POST", True),
        (FlaskSingle.as_view("x"), "BREW", True),
        (Below.as_view(), "POST", False),
        (Api.as_view(), "GET", False),
        (api_function, "POST", False),
        (Shelf.as_view({"get": "list"}), "POST", False),
        (Endpoint, "POST", False),
    ],
)
def test_a_view_that_will_say_405_is_known(view, method, expected) -> None:
    assert about(view, method).answers is expected


def test_a_circle_of_wrappers_ends() -> None:
    def view(request):
        pass

    view.__wrapped__ = view
    assert about(view, "GET").protection is None
