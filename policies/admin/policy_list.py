"""The page of policies that a list shows, each with the score of its documentation."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils import timezone

from policies.lifecycle.documenting import documentation_facts


class ScoredList(ChangeList):
    """Scores only what is shown: three queries for a page, however many policies there are."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        scores = documentation_facts.scores(shown, timezone.now())
        for policy in shown:
            policy.documentation = scores[policy.pk]
        self.result_list = shown  # type: ignore[assignment]
