"""A Flask service with one endpoint worth protecting."""
