"""The app: what runs once at start, and after every migration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PoliciesConfig(AppConfig):
    name = "policies"
    verbose_name = "Policies"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from policies import checks, ledger  # registers the checks; models are ready only now

        checks.register_checks()
        # A table that SQLite remakes loses its triggers without a word, so they are put back after every migration.
        post_migrate.connect(ledger.guard_after_migration, sender=self)
