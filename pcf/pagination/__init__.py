"""Relay connections: cursors, orders, filters, and the loaders of their pages."""
