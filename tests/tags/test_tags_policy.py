import pytest

from pcf.viewer import ANONYMOUS, Viewer
from tags.policy import may_edit_tags


@pytest.mark.parametrize(
    ("viewer", "allowed"),
    [(ANONYMOUS, False), (Viewer(1), False), (Viewer(1, is_staff=True), True)],
)
def test_tags_are_edited_by_staff(viewer: Viewer, allowed: bool) -> None:
    assert may_edit_tags(viewer) is allowed
