"""Two views: a product is one row by its key, a search reads every product there is."""

from typing import Any

from django.db.models import Avg, Count, Max, Min
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from examples.django_shop.models import Product
from policy_client import Identity, protect

PAGE = 20


def identify(request: HttpRequest) -> Identity:
    """Who calls. For the demo alone: a real service has its login, and needs no `IDENTIFY` for users."""
    user = request.headers.get("X-User")
    return Identity(user=user, authenticated=user is not None)


@require_GET
def health(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"ok": True})


@require_GET
@protect("shop.search")
def search(request: HttpRequest) -> JsonResponse:
    found = Product.objects.filter(name__icontains=request.GET.get("q", ""))
    page = number(request.GET.get("page"))
    makers = found.values("maker").annotate(
        products=Count("id"), least=Min("cents"), most=Max("cents"), mean=Avg("cents")
    )
    products = found.order_by("cents", "id")[(page - 1) * PAGE : page * PAGE]
    return JsonResponse(
        {
            "found": found.count(),
            "makers": list(makers.order_by("-products", "maker")[:10]),
            "products": [facts(product) for product in products],
        }
    )


@require_GET
def product(request: HttpRequest, product_id: int) -> JsonResponse:
    return JsonResponse(facts(get_object_or_404(Product, pk=product_id)))


def facts(product: Product) -> dict[str, Any]:
    return {"id": product.pk, "name": product.name, "price": f"{product.cents / 100:.2f}", "stock": product.stock}


def number(text: str | None) -> int:
    """The page asked for; the first where it is none."""
    return min(int(text), 1000) if text and text.isascii() and text.isdecimal() and int(text) else 1
