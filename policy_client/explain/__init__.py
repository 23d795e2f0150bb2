"""Explain: what a bundle makes of one sample request, in fields and in words. Nothing is counted."""

from policy_client.explain.explanation import explain
from policy_client.explain.values import Explanation
from policy_client.explain.sample import sample_call

__all__ = ["Explanation", "explain", "sample_call"]
