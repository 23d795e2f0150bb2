"""REST: a door like the admin. It reads a request, calls a verb of `policies.lifecycle`, and tells the outcome."""
