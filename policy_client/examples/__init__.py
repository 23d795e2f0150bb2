"""Examples of a policy: requests with what shall become of them, run through the same engine as in a service.

An example makes its request `repeat` times at one moment, with counters that are all fresh and every rule enforced; the
last of these calls must come out as expected. Nothing is asked over the network and no clock is read.
"""

from policy_client.examples.reading import MAX_CALLS, MAX_EXAMPLES, MAX_PAIRS, parse_examples
from policy_client.examples.running import run_examples
from policy_client.examples.values import MAX_REPEAT, MAX_TEXT, PAIRS, Example, Expected, Failure, Repeated, Sample

__all__ = [
    "MAX_CALLS",
    "MAX_EXAMPLES",
    "MAX_PAIRS",
    "MAX_REPEAT",
    "MAX_TEXT",
    "PAIRS",
    "Example",
    "Expected",
    "Failure",
    "Repeated",
    "Sample",
    "parse_examples",
    "run_examples",
]
