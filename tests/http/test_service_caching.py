"""The responses that the service stores, and hits without SQL."""

from dataclasses import replace

import pytest

from notes.models import Note
from pcf.database.query_log import count_queries
from tests.conftest import make_note, token_for

NOTES = "{ notes { title } }"


def statuses(ask, times=2, **how):
    return [ask(**how).cache_status for _ in range(times)]


def test_a_query_is_stored_once_and_then_hit(live_world, ask, grown):
    assert statuses(ask, 5, query=NOTES) == ["pcf; fwd=miss; stored"] + ["pcf; hit"] * 4
    size = len(ask(NOTES).body)
    assert grown() == {
        "misses": 1, "stores": 1, "hits": 5, "body_bytes_count identity": 1,
        "body_bytes_sum identity": size,
    }  # fmt: skip


def test_both_codings_of_a_stored_response_are_measured(live_world, ask, grown):
    for number in range(100):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    grown()
    size = len(ask("{ notes(first: 100) { title } }").body)
    told = grown()
    assert told["body_bytes_sum identity"] == size
    assert told["body_bytes_count gzip"] == 1
    assert 0 < told["body_bytes_sum gzip"] < size / 2


def test_hits_are_the_same_bytes_and_cost_no_sql(live_world, ask):
    token = token_for(live_world.ann)
    first = ask(NOTES, token)
    with count_queries() as queries:
        second = ask(NOTES, token)
    assert second.cache_status == "pcf; hit"
    assert second.body == first.body
    assert queries.count == 0


def test_variables_and_operation_names_are_part_of_the_key(live_world, ask):
    query = "query Q($first: Int!) { notes(first: $first) { title } }"
    assert ask(query, variables={"first": 1}).cache_status == "pcf; fwd=miss; stored"
    assert ask(query, variables={"first": 2}).cache_status == "pcf; fwd=miss; stored"
    assert ask(query, variables={"first": 1}).cache_status == "pcf; hit"


def test_undeclared_variables_are_no_part_of_the_key(live_world, ask):
    assert ask(NOTES, variables={"junk": 1}).cache_status == "pcf; fwd=miss; stored"
    assert ask(NOTES, variables={"junk": 2}).cache_status == "pcf; hit"


def test_no_store_neither_reads_nor_writes(live_world, ask, grown):
    no_store = {"Cache-Control": "no-store"}
    assert statuses(ask, query=NOTES, **no_store) == ["pcf; fwd=bypass"] * 2
    assert grown() == {"bypasses no-store": 2}
    assert ask(NOTES).cache_status == "pcf; fwd=miss; stored"
    assert ask(NOTES).cache_status == "pcf; hit"
    assert statuses(ask, query=NOTES, **no_store) == ["pcf; fwd=bypass"] * 2


@pytest.mark.parametrize(
    ("query", "status", "metric"),
    [
        ("{ notes(first: 0) { title } }", "pcf; fwd=miss", "misses"),
        ("{ slowQuery(delay: 0) }", "pcf; fwd=bypass", "bypasses uncacheable"),
        ("{ nope }", "pcf; fwd=bypass", None),
        ("{", "pcf; fwd=bypass", None),
        (
            'mutation { deleteNote(input: {id: "1"}) { deletedId } }',
            "pcf; fwd=bypass",
            "bypasses mutation",
        ),
    ],
)
def test_errors_mutations_and_uncacheable_fields_are_not_stored(
    live_world, ask, grown, query, status, metric
):
    assert statuses(ask, query=query) == [status] * 2
    assert grown() == ({metric: 2} if metric else {})  # an invalid document does not ask the cache


def test_a_disabled_cache_is_bypassed(live_world, ask, grown, settings):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, enabled=False))
    assert statuses(ask, query=NOTES) == ["pcf; fwd=bypass"] * 2
    assert grown() == {"bypasses disabled": 2}


def test_every_viewer_sees_a_mutation_at_once(live_world, ask):
    ann, bob = token_for(live_world.ann), token_for(live_world.bob)
    for token in (ann, bob, None):
        ask(NOTES, token)
    ask(
        f'mutation {{ updateNote(input: {{id: "{live_world.public.pk}", title: "new"}}) '
        "{ note { title } userErrors { code } } }",
        ann,
    )
    for token in (ann, bob, None):
        answer = ask(NOTES, token)
        assert answer.data["notes"][0]["title"] == "new"
        assert answer.cache_status == "pcf; fwd=miss; stored"


def test_a_write_leaves_other_authors_responses_in_place(live_world, ask):
    of_ann = f"{{ userNotes(userId: {live_world.ann.pk}) {{ title }} }}"
    of_bob = f"{{ userNotes(userId: {live_world.bob.pk}) {{ title }} }}"
    ask(of_ann), ask(of_bob)
    make_note(live_world.ann, "new")
    assert ask(of_bob).cache_status == "pcf; hit"
    assert "new" in str(ask(of_ann).data)


def test_a_renamed_note_leaves_lists_in_place_that_do_not_show_its_title(live_world, ask):
    ann = token_for(live_world.ann)
    first, second = "{ notes(first: 1) { title } }", live_world.private
    lists = {
        "the first page": (first, None),
        "all that the world sees": (NOTES, None),
        "all that Ann sees": (NOTES, ann),
        "the users": ("{ users { name } }", ann),
    }
    assert second.pk > live_world.public.pk
    for query, token in lists.values():
        ask(query, token)
    Note.objects.filter(pk=second.pk).update(title="renamed")  # private, of Ann
    told = {name: ask(query, token).cache_status for name, (query, token) in lists.items()}
    assert told.pop("all that Ann sees") == "pcf; fwd=miss; stored"
    assert set(told.values()) == {"pcf; hit"}
    assert "renamed" in str(ask(NOTES, ann).data)


def test_a_missing_row_is_a_dependency_too(live_world, ask):
    missing = live_world.other.pk + 1
    query = f"{{ note(id: {missing}) {{ title }} }}"
    by_tag = '{ notes(tag: "green") { title } }'
    assert ask(query).data == {"note": None}
    assert ask(by_tag).data == {"notes": []}

    from tags.models import Tag

    Note.objects.create(pk=missing, title="now", author=live_world.ann, is_public=True)
    assert ask(query).data == {"note": {"title": "now"}}
    Tag.objects.create(name="green").notes.add(missing)
    assert ask(by_tag).data == {"notes": [{"title": "now"}]}


def test_renaming_a_tag_is_seen_through_every_edge(live_world, ask):
    query = "{ users { notes { tags { name } } } }"
    ask(query)
    live_world.red.name = "crimson"
    live_world.red.save()
    assert "crimson" in str(ask(query).data)


def test_a_revoked_token_is_refused_at_once(live_world, ask):
    from django.utils import timezone

    from users.models import ApiToken

    token = token_for(live_world.ann)
    assert ask(NOTES, token).status == 200
    assert ask(NOTES, token).cache_status == "pcf; hit"
    ApiToken.objects.update(revoked_at=timezone.now())
    answer = ask(NOTES, token)
    assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])


def test_a_deactivated_user_and_lost_staff_rights_count_at_once(live_world, ask):
    token = token_for(live_world.staff)
    assert len(ask(NOTES, token).data["notes"]) == 3
    live_world.staff.is_staff = False
    live_world.staff.save()
    assert len(ask(NOTES, token).data["notes"]) == 1
    live_world.staff.is_active = False
    live_world.staff.save()
    assert ask(NOTES, token).status == 401
