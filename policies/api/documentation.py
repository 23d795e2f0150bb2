"""The page to read about REST and to try it, without inline script or style."""

from drf_spectacular.views import SpectacularSwaggerSplitView


class Documentation(SpectacularSwaggerSplitView):
    template_name = "policies/api_docs.html"
