"""The ASGI application: what a server of HTTP hands over, and what it gets back."""
