"""The ASGI application, the fast path, and gunicorn's worker with limits for clients."""
