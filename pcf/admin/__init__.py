"""Django's admin on PCF: exact texts, conflicts, deletion in steps, refusals, the response cache.

``site`` is the site. ``model_admin`` has the base class of a model's pages. Django imports this
package when it looks for the pages of the app.
"""

from pcf.admin import response_cache

__all__ = ("response_cache",)
