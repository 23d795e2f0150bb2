"""Where static files come from: collected and named by content where `collectstatic` has run, else as they lie."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class CollectedOrFound(CompressedManifestStaticFilesStorage):
    """A console works without `collectstatic`; with it, files are compressed and may be kept for ever."""

    def stored_name(self, name: str) -> str:
        try:
            return str(super().stored_name(name))
        except ValueError:  # not in the manifest: served under its plain name, found in the apps
            return name
