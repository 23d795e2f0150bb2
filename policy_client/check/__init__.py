"""Looking at an address from outside, as callers and caches see it: what `python -m policy_client check` does.

Only GET is sent. Each check looks at the answers alone and says in a sentence what it found.
"""
