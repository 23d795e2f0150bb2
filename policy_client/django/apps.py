"""The app that brings the system checks; it has no models."""

from django.apps import AppConfig


class PolicyClientConfig(AppConfig):
    name = "policy_client.django"
    label = "policy_client"
    verbose_name = "Policy client"

    def ready(self) -> None:
        from policy_client.django import checks

        checks.listen()
