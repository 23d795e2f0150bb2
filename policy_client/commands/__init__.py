"""Small commands of `python -m policy_client` that talk to a console with the settings of the environment."""
