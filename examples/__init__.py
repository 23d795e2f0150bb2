"""Small real services that use the client, and the demo that runs them all."""
