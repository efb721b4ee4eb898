"""Viewers: their names in the cache."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.viewer import ANONYMOUS, Scope, Viewer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
viewers = st.builds(
    Viewer,
    st.integers() | st.uuids() | TEXTS | st.sampled_from(["anonymous", "shared", "token", "5", ""]),
    scope=st.sampled_from(Scope),
) | st.builds(Viewer, st.integers() | st.uuids() | TEXTS, st.just(value=True))


@given(viewers)
def test_a_name_stands_for_one_viewer(viewer):
    known = Viewer.from_name(viewer.name)
    assert known == viewer
    assert type(known.id) is type(viewer.id)


@given(viewers, viewers)
def test_different_viewers_have_different_names(one, other):
    assert (one.name == other.name) == (one == other and type(one.id) is type(other.id))
    assert (one.id_name == other.id_name) == (one.id == other.id and type(one.id) is type(other.id))


@given(viewers)
def test_a_name_has_no_character_with_a_meaning(viewer):
    """The scripts in Redis divide names at these characters."""
    assert re.fullmatch(r"[\w-]+", viewer.id_name, re.ASCII)
    assert viewer.id_name not in {ANONYMOUS.name, "shared", "token"}


def test_names_of_integers_and_uuids_are_short():
    assert Viewer(7).name == "7.admin"
    assert len(Viewer(UUID(int=2**128 - 1)).id_name) == 24


@pytest.mark.parametrize("key", [1.5, (1, 2), b"7"])
def test_a_user_with_another_key_is_refused(key):
    with pytest.raises(TypeError, match="the id of a viewer"):
        _ = Viewer(key).name
