"""The project as an app (it has checks, pages and a command of its own), and its admin site."""

from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.core import checks


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = "Policy Console"

    def ready(self) -> None:
        from console.checks import check_mail, check_settings, check_sharing

        checks.register(check_settings)
        checks.register(check_sharing, deploy=True)
        checks.register(check_mail, deploy=True)


class ConsoleAdminConfig(AdminConfig):
    default_site = "console.admin_site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        # Not in `policies.admin` itself: the site lives in that package and must exist before pages are registered.
        import_module("policies.admin.rooms")
