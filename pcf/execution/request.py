"""What resolvers find in ``info.context``: one object a GraphQL operation, gone with it."""

from pcf.execution.dependencies import Dependencies
from pcf.execution.loaders import Loaders
from pcf.viewer import ANONYMOUS, Viewer


class RequestContext:
    """The viewer, the loaders made for this operation, and what its response depends on.

    ``max_age`` is the longest time in seconds for which the response may be cached, None while
    nothing has limited it and 0 when it must not be cached at all.
    """

    __slots__ = ("dependencies", "loaders", "max_age", "viewer")

    def __init__(self, viewer: Viewer = ANONYMOUS) -> None:
        self.viewer = viewer
        self.dependencies = Dependencies()
        self.loaders = Loaders(viewer, self.dependencies)
        self.max_age: int | None = None
        if viewer.is_authenticated:
            self.dependencies.add("account", (viewer.id,))  # what it may do

    def limit_age(self, seconds: int) -> None:
        """The response may be cached for ``seconds`` at most; the smallest value wins."""
        if self.max_age is None or seconds < self.max_age:
            self.max_age = seconds

    def no_store(self) -> None:
        """The response must not be cached."""
        self.max_age = 0
