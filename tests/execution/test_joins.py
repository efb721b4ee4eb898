"""A statement that looks up one row fetches the rows that its foreign keys lead to as well."""

from django.contrib.auth import get_user_model
from django.db import models
from django.test.utils import isolate_apps
from graphql import parse

from notes.models import Note
from pcf.database.query_log import count_queries
from pcf.execution import row_loaders
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.joins import _leads_to_key
from pcf.execution.loaders import find_loader
from pcf.execution.plan_cache import PlanCache
from pcf.execution.row_loaders import RowLoader
from pcf.execution.shared_statements import SharedStatements
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS, Viewer
from users.loaders import UserById

User = get_user_model()


def run(query, viewer=ANONYMOUS, plan_cache=None):
    """Execute a query by a plan; return its data, its statements and its dependencies."""
    context = RequestContext(viewer)
    with count_queries(keep_texts=True) as queries:
        result = execute(
            schema.graphql_schema, parse(query), context_value=context,
            plan_cache=PlanCache(eager=True) if plan_cache is None else plan_cache,
        )  # fmt: skip
    assert not result.errors, result.errors
    by_promises = execute_with_promises(
        schema.graphql_schema, parse(query), context_value=RequestContext(viewer)
    )
    assert result.data == by_promises.data
    return result.data, queries.statements, context.dependencies


def test_a_note_and_its_author_are_one_statement(world):
    data, statements, dependencies = run(
        f'{{ note(id: "{world.public.pk}") {{ title author {{ name id }} }} }}'
    )
    assert data["note"]["author"] == {"name": world.ann.name, "id": str(world.ann.pk)}
    assert len(statements) == 1
    assert ("note", world.public.pk) in dependencies
    assert ("user", world.ann.pk) in dependencies
    assert {loader.__name__ for loader, *_ in dependencies.statements} == {"NoteById", "UserById"}


def test_further_edges_have_their_own_statements(world):
    _, statements, _ = run(
        f'{{ note(id: "{world.public.pk}") {{ author {{ name noteCount }} tags {{ name }} }} }}'
    )
    assert len(statements) == 3


def test_several_rows_in_one_statement(world):
    data, statements, _ = run(
        f'{{ a: note(id: "{world.public.pk}") {{ author {{ name }} }}'
        f'   b: note(id: "{world.other.pk}") {{ author {{ name }} }}'
        '   c: note(id: "999999") { author { name } } }',
        Viewer(world.staff.pk, is_staff=True),
    )
    assert [each and each["author"]["name"] for each in data.values()] == [
        world.ann.name, world.bob.name, None,
    ]  # fmt: skip
    assert len(statements) == 1


def test_a_response_depends_only_on_the_rows_that_it_asks_for(world):
    _, _, dependencies = run(
        f'{{ a: note(id: "{world.public.pk}") {{ author {{ name }} }}'
        f'   b: note(id: "{world.other.pk}") {{ title }} }}',
        Viewer(world.staff.pk, is_staff=True),
    )
    assert ("user", world.ann.pk) in dependencies
    assert ("user", world.bob.pk) not in dependencies


def test_a_row_that_the_loader_does_not_show_is_missing(world, monkeypatch):
    def queryset(cls, _viewer):
        return User.objects.exclude(pk=world.ann.pk)

    monkeypatch.setattr(UserById, "queryset", classmethod(queryset))
    monkeypatch.setattr(row_loaders, "_statements", SharedStatements(100))
    query = f'{{ note(id: "{world.public.pk}") {{ author {{ name }} }} }}'
    found = []
    for way in (execute, execute_with_promises):
        context = RequestContext(ANONYMOUS)
        result = way(schema.graphql_schema, parse(query), context_value=context)
        found.append((result.data, [error.message for error in result.errors]))
    assert found[0] == found[1]
    assert found[0][0] == {"note": None}


def test_a_large_text_that_is_joined_is_bounded(world):
    Note.objects.filter(pk=world.public.pk).update(content="x" * 5_000)
    data, statements, _ = run(
        f'{{ note(id: "{world.public.pk}") {{ content author {{ name }} }} }}'
    )
    assert len(data["note"]["content"]) == 5_000
    assert len(statements) == 1


@isolate_apps("tests")
def test_only_a_foreign_key_to_the_key_of_the_loader_is_joined():
    class Paper(models.Model):
        writer = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
        reader = models.ForeignKey(
            User, on_delete=models.CASCADE, related_name="+", to_field="username"
        )
        number = models.IntegerField()

        class Meta:
            app_label = "tests"

    class ByName(RowLoader):
        model = User
        dependency = "user-name"
        key = "username"

    class OwnBatch(UserById):
        def load_batch(self, keys):
            return super().load_batch(keys)

    pairs = [
        (column, loader.__name__)
        for column in ("writer_id", "reader_id", "number")
        for loader in (UserById, ByName, OwnBatch)
        if _leads_to_key(Paper, column, loader)
    ]
    assert pairs == [("writer_id", "UserById"), ("reader_id", "ByName")]
    assert find_loader("users.UserById") is UserById


def test_a_loader_that_a_project_changes_later_reads_by_itself(world, monkeypatch):
    query = f'{{ note(id: "{world.public.pk}") {{ author {{ name }} }} }}'
    plans = PlanCache(eager=True)
    assert len(run(query, plan_cache=plans)[1]) == 1

    def load_batch(_self, keys):
        return dict.fromkeys(keys, world.bob)

    with monkeypatch.context() as patch:
        patch.setattr(UserById, "load_batch", load_batch)
        assert run(query, plan_cache=plans)[0]["note"]["author"] == {"name": world.bob.name}
    assert len(run(query, plan_cache=plans)[1]) == 1
