"""The console, two services that enforce its policies, and traffic for them: `make demo`."""
