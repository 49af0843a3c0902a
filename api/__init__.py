"""The service: HTTP, the database, and the worker that runs searches."""
