from django.urls import path

from examples.django_shop import views

urlpatterns = [
    path("health", views.health),
    path("shop/search", views.search),
    path("shop/products/<int:product_id>", views.product),
]
