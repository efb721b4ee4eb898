"""``GRAPHENE["MIDDLEWARE"]``: the service calls it as graphene-django does, for every viewer."""

from graphql import GraphQLError

from tests.conftest import token_for

NOTES = "{ notes { id title author { name } } }"


class Recording:
    """Records the fields that it sees."""

    seen: list[str] = []

    def resolve(self, following, root, info, **arguments):
        self.seen.append(f"{info.parent_type.name}.{info.field_name}")
        return following(root, info, **arguments)


def for_members(following, root, info, **arguments):
    """Hide authors from strangers."""
    if info.field_name == "author" and not info.context.viewer.is_authenticated:
        raise GraphQLError("only members may see authors")
    return following(root, info, **arguments)


def test_middleware_of_the_settings_sees_every_field(live_world, ask, settings, fresh_service):
    settings.GRAPHENE = {**settings.GRAPHENE, "MIDDLEWARE": [f"{__name__}.Recording"]}
    Recording.seen.clear()
    answer = ask(NOTES)
    assert answer.data["notes"]
    assert answer.cache_status == "pcf; fwd=miss; stored"
    assert {*Recording.seen} == {
        "Query.notes", "Note.id", "Note.title", "Note.author", "User.name",
    }  # fmt: skip


def test_what_a_middleware_refuses_is_refused_in_hits_too(live_world, ask, settings, fresh_service):
    settings.GRAPHENE = {**settings.GRAPHENE, "MIDDLEWARE": [for_members]}
    token = token_for(live_world.ann)
    for _ in range(2):
        assert ask(NOTES, token).data["notes"][0]["author"]
        refused = ask(NOTES)
        assert {error["message"] for error in refused.errors} == {"only members may see authors"}


def test_a_change_of_the_middleware_changes_the_keys(live_world, ask, settings, fresh_service):
    from pcf.project.schema import graphql_service

    assert ask(NOTES).cache_status == "pcf; fwd=miss; stored"
    assert ask(NOTES).cache_status == "pcf; hit"
    settings.GRAPHENE = {**settings.GRAPHENE, "MIDDLEWARE": [f"{__name__}.Recording"]}
    graphql_service.cache_clear()
    assert ask(NOTES).cache_status == "pcf; fwd=miss; stored"
