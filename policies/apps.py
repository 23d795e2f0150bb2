"""The app: what runs once at start, and after every migration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class PoliciesConfig(AppConfig):
    name = "policies"
    verbose_name = "Policies"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from policies import checks, ledger, shipped  # registers the checks; models are ready only now

        checks.register_checks()
        pre_migrate.connect(ledger.lift_guards_before_migration, sender=self)
        # A table that SQLite remakes loses its triggers without a word, so they are put back after every migration.
        post_migrate.connect(ledger.guard_after_migration, sender=self)
        post_migrate.connect(shipped.seed_after_migration, sender=self)
