import pytest

from pcf.viewer import ANONYMOUS, Viewer
from users import policy

OWNER, OTHER, STAFF = Viewer(1), Viewer(2), Viewer(3, is_staff=True)


@pytest.mark.parametrize("rule", [policy.may_see_email, policy.may_edit_profile])
@pytest.mark.parametrize(
    ("viewer", "allowed"), [(ANONYMOUS, False), (OTHER, False), (OWNER, True), (STAFF, True)]
)
def test_email_and_profile_are_for_the_user_and_for_staff(rule, viewer, allowed) -> None:
    assert rule(viewer, 1) is allowed
