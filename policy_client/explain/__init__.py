"""Explain: what a bundle makes of one sample request, in fields and in words. Nothing is counted."""

from policy_client.explain.explanation import explain
from policy_client.explain.sample import sample_call
from policy_client.explain.values import Explanation

__all__ = ["Explanation", "explain", "sample_call"]
