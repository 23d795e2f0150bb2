"""The project as an app (it has checks, pages and a command of its own), and its admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.core import checks


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = "Policy Console"

    def ready(self) -> None:
        from console.checks import check_settings, check_sharing

        checks.register(check_settings)
        checks.register(check_sharing, deploy=True)


class ConsoleAdminConfig(AdminConfig):
    default_site = "console.admin_site.ConsoleSite"
