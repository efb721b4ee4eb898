"""Tokens: their text, authentication, scopes, and rotation."""

import hmac
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from pcf.viewer import Scope, Viewer
from tests.conftest import token_for
from users import tokens
from users.authentication import find_credentials
from users.models import ApiToken

ME = "{ me { id email } }"
NOTES = "{ notes { title } }"
RENAME = 'mutation { updateProfile(input: {name: "New"}) { user { name } userErrors { code } } }'

# the text


def test_texts_have_the_form_for_scanners_and_differ() -> None:
    texts = {tokens.new_text() for _ in range(100)}
    assert len(texts) == 100
    assert all(re.fullmatch(r"pcf_[0-9A-Za-z]{49}", text) for text in texts)
    assert all(tokens.may_be_token(text) for text in texts)


@given(st.integers(0, 52), st.sampled_from("0Az_- \0é"))
def test_a_text_with_another_character_is_recognised(place: int, character: str) -> None:
    text = "pcf_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG" + "4KyTaG"
    checked = text[:47] + tokens._checksum(text[4:47])
    changed = checked[:place] + character + checked[place + 1 :]
    # a text without the prefix may be an older token
    expected = changed == checked or not changed.startswith("pcf_")
    assert tokens.may_be_token(changed) is expected


@pytest.mark.parametrize("cut", [4, 30, 52])
def test_an_incomplete_text_sends_no_statement(db, cut, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert find_credentials(tokens.new_text()[:cut]) is None


def test_texts_older_than_the_form_still_work(world) -> None:
    ApiToken.objects.create(user=world.ann, name="x", digest=tokens.digest_of("test-token"))
    assert find_credentials("test-token").viewer == Viewer(world.ann.pk, scope=Scope.WRITE)


# authentication


def test_a_token_is_found_in_one_statement(world, django_assert_num_queries) -> None:
    text = token_for(world.staff)
    with django_assert_num_queries(1):
        assert find_credentials(text).viewer == Viewer(world.staff.pk, is_staff=True)


@pytest.mark.parametrize(
    ("changes", "user_changes"),
    [
        ({"revoked_at": timezone.now()}, {}),
        ({"expires_at": timezone.now()}, {}),
        ({}, {"is_active": False}),
    ],
)
def test_revoked_expired_inactive_and_unknown_are_refused_alike(
    world, ask, changes, user_changes
) -> None:
    unknown = ask(ME, tokens.new_text())
    token, text = ApiToken.issue(world.ann, "t", **changes)
    type(world.ann).objects.filter(pk=world.ann.pk).update(**user_changes)
    answer = ask(ME, text)
    assert (answer.status, answer.body) == (401, unknown.body)
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    token.refresh_from_db()
    assert token.last_used_at is None


def test_the_write_of_last_used_at_takes_no_further_statement_and_evicts_nothing(
    live_world, ask
) -> None:
    """The write of last_used_at, once in five minutes, removes no cached response."""
    token, text = ApiToken.issue(live_world.ann, "t")
    assert ask(NOTES, text).cache_status == "pcf; fwd=miss; stored"
    token.refresh_from_db()
    assert token.last_used_at is not None
    with CaptureQueriesContext(connection) as queries:
        assert ask(NOTES, text).cache_status == "pcf; hit"
    assert not queries.captured_queries

    # after the interval a request that reaches PostgreSQL writes; hits stay hits
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now() - timedelta(minutes=6))
    ask(ME, text)
    assert ask(NOTES, text).cache_status == "pcf; hit"
    find_credentials(text)
    with CaptureQueriesContext(connection) as queries:
        assert ask(NOTES, text).cache_status == "pcf; hit"
    assert not queries.captured_queries


def test_the_found_digest_is_compared_in_constant_time(world, monkeypatch) -> None:
    token, text = ApiToken.issue(world.ann, "t")
    compared = []

    def refuse(*digests: bytes) -> bool:
        compared.append(digests)
        return False

    monkeypatch.setattr(hmac, "compare_digest", refuse)
    assert find_credentials(text) is None
    assert compared == [(bytes(token.digest), tokens.digest_of(text))]
    monkeypatch.undo()
    assert find_credentials(text).viewer == Viewer(world.ann.pk, scope=Scope.WRITE)


@pytest.mark.parametrize(("seconds", "written"), [(299, False), (301, True)])
def test_last_used_at_is_written_again_only_after_the_interval(
    world, monkeypatch, seconds, written
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    token, text = ApiToken.issue(world.ann, "t")
    find_credentials(text)
    token.refresh_from_db()
    assert token.last_used_at == now
    aged = now - timedelta(seconds=seconds)
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=aged)
    find_credentials(text)
    token.refresh_from_db()
    assert token.last_used_at == (now if written else aged)


# scopes


@pytest.mark.parametrize("scope", Scope)
def test_mutations_need_the_scope_write(world, ask, scope) -> None:
    answer = ask(RENAME, token_for(world.ann, scope))
    world.ann.refresh_from_db()
    if scope is Scope.READ:
        assert (answer.status, answer.codes) == (403, ["INSUFFICIENT_SCOPE"])
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer error="insufficient_scope", scope="write"'
        )
        assert "data" not in answer.content
        assert world.ann.name == "Ann"
    else:
        assert answer.data["updateProfile"]["userErrors"] == []
        assert world.ann.name == "New"


@pytest.mark.parametrize("scope", Scope)
def test_the_rights_of_staff_need_the_scope_admin(world, ask, scope) -> None:
    token = token_for(world.staff, scope)
    for _ in range(2):  # from PostgreSQL and from the cache
        titles = [note["title"] for note in ask(NOTES, token).data["notes"]]
        emails = [user["email"] for user in ask("{ users { email } }", token).data["users"]]
        if scope is Scope.ADMIN:
            assert len(titles) == 3
            assert None not in emails
        else:
            assert titles == ["public of ann"]
            assert emails == [None, None, "sue@example.org"]


def test_tokens_of_one_member_of_staff_do_not_see_each_others_responses(live_world, ask) -> None:
    wide, narrow = (token_for(live_world.staff, scope) for scope in ("admin", "read"))
    for first, second in ((wide, narrow), (narrow, wide)):
        ask(NOTES, first)
        ask(NOTES, second)
    assert len(ask(NOTES, wide).data["notes"]) == 3
    assert len(ask(NOTES, narrow).data["notes"]) == 1
    assert ask(NOTES, wide).cache_status == ask(NOTES, narrow).cache_status == "pcf; hit"


def test_staff_without_the_scope_admin_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="scope admin"):
        Viewer(1, is_staff=True, scope=Scope.WRITE)


@given(st.integers(1, 2**63 - 1), st.booleans(), st.sampled_from(Scope), st.sampled_from(Scope))
def test_a_viewer_is_its_name(user_id, staff, scope, needed) -> None:
    viewer = Viewer.from_token(user_id, scope, staff=staff)
    assert Viewer.from_name(viewer.name) == viewer
    assert viewer.is_staff is (staff and scope is Scope.ADMIN)
    order = list(Scope)
    assert scope.covers(needed) is (order.index(scope) >= order.index(needed))


# rotation


def rotate(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("rotate_token", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_a_rotated_token_works_until_the_overlap_ends(world, ask) -> None:
    old, old_text = ApiToken.issue(world.staff, "ci", scope="admin")
    before = timezone.now()
    text, said = rotate("sue", "--name", "ci", "--overlap", "2")
    assert text not in said
    assert "works for another 2 h" in said

    old.refresh_from_db()
    assert before + timedelta(hours=2) <= old.expires_at <= timezone.now() + timedelta(hours=2)
    new = old.replaced_by
    assert (new.user, new.name, new.scope, new.expires_at) == (world.staff, "ci", "admin", None)
    assert ask(ME, text).status == ask(ME, old_text).status == 200


def test_without_an_overlap_the_old_text_stops_at_once(live_world, ask) -> None:
    old_text = token_for(live_world.ann)
    assert [ask(ME, old_text).status for _ in range(2)] == [
        200,
        200,
    ]  # the cache remembers the token
    text, _ = rotate("ann", "--name", "test", "--overlap", "0")
    assert (ask(ME, old_text).status, ask(ME, text).status) == (401, 200)


def test_the_new_token_has_the_lifetime_of_the_old_one(world) -> None:
    now = timezone.now()
    soon = now + timedelta(minutes=5)
    old, _ = ApiToken.issue(world.ann, "t", created_at=now - timedelta(days=30), expires_at=soon)
    rotate("ann", "--id", str(old.pk))
    old.refresh_from_db()
    assert old.expires_at == soon  # an overlap does not prolong a token
    assert old.replaced_by.expires_at - now > timedelta(days=30)
    rotate("ann", "--id", str(old.replaced_by.pk), "--expires-in", "1")
    last = ApiToken.objects.latest("id")
    assert last.expires_at - timezone.now() <= timedelta(days=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann", "--name", "nothing"], "has no valid token named 'nothing'"),
        (["nobody", "--name", "twice"], "user 'nobody' has no valid token"),
        (["ann", "--name", "twice"], "has 2 tokens named 'twice'; use --id"),
        (["ann", "--name", "revoked"], "has no valid token"),
        (["ann", "--name", "twice", "--overlap", "721"], "0 to 720 hours, got 721"),
        (["ann", "--name", "twice", "--overlap", "-1"], "0 to 720 hours, got -1"),
        (["ann"], "one of the arguments --name --id is required"),
        (["bob", "--id", "{ann}"], "has no valid token with the id"),
    ],
)
def test_a_wrong_rotation_is_refused_and_changes_nothing(world, arguments, message) -> None:
    twice, _ = ApiToken.issue(world.ann, "twice")
    ApiToken.issue(world.ann, "twice")
    ApiToken.issue(world.ann, "revoked", revoked_at=timezone.now())
    before = list(ApiToken.objects.values())
    with pytest.raises(CommandError, match=message):
        rotate(*(argument.format(ann=twice.pk) for argument in arguments))
    assert list(ApiToken.objects.values()) == before


def test_a_token_is_rotated_once(world) -> None:
    old, _ = ApiToken.issue(world.ann, "t")
    old.rotate(overlap=timedelta(hours=1), expires_at=None)
    with pytest.raises(ValueError, match="already revoked, expired or replaced"):
        old.rotate(overlap=timedelta(hours=1), expires_at=None)
    assert ApiToken.objects.count() == 2


# the scopes of older tokens


def test_tokens_older_than_scopes_keep_their_rights(transactional_db) -> None:
    from django.db.migrations.executor import MigrationExecutor

    def migrate(name: str) -> object:
        executor = MigrationExecutor(connection)
        executor.migrate([("users", name)])
        return executor.loader.project_state([("users", name)]).apps

    apps = migrate("0001_initial")
    try:
        user_model, token_model = (apps.get_model("users", n) for n in ("User", "ApiToken"))
        for name, staff in (("ann", False), ("sue", True)):
            user = user_model.objects.create(username=name, name=name, is_staff=staff)
            token_model.objects.create(user=user, name=name, digest=tokens.digest_of(name))
    finally:
        leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
        MigrationExecutor(connection).migrate(leaves)
    scopes = dict(ApiToken.objects.values_list("user__username", "scope"))
    assert scopes == {"ann": "write", "sue": "admin"}
