"""A FastAPI service with one endpoint worth protecting."""
