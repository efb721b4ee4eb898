"""Another project on the engine's wheel: queries, edges, a mutation, invalidation, the admin."""

import json
import re
import urllib.request
from http.cookiejar import CookieJar
from secrets import token_urlsafe
from urllib.parse import urlencode

from tests.projects.conftest import ROOT, run

SHELF = """{ books { title author { name books { title } } genres { name books { title } }
             reviews { rating text } } }"""
HIT, STORED = "pcf; hit", "pcf; fwd=miss; stored"


def book(number):
    return f"{{ book(id: {number}) {{ title reviews {{ rating }} }} }}"


def test_the_engine_is_the_wheels_and_has_no_app_of_this_repository(bookstore):
    code = """import importlib.util, pcf, pcf.cache.triggers as triggers
print(pcf.__file__, triggers.__file__, importlib.util.find_spec("pcf.project"))"""
    where = run(bookstore.python, ["-c", code], bookstore.environment, None)
    assert where.count("site-packages/pcf/") == 2
    assert where.endswith(" None\n")


def test_edges_lead_from_type_to_type(bookstore):
    answer, _ = bookstore.ask(SHELF)
    titles = [{"title": f"Book {number}"} for number in (1, 2, 3)]
    genres = [{"name": name, "books": titles} for name in ("Essay", "History")]
    author = {"name": "Ada Ray", "books": titles}
    *first, last = answer["data"]["books"]
    assert [each["genres"] for each in first] == [genres] * 3
    assert [each["author"] for each in first] == [author] * 3
    assert (last["author"]["name"], last["genres"]) == ("Leo Hill", [])


def test_a_mutation_removes_what_depends_on_it_and_nothing_else(bookstore):
    for number in (1, 2):
        bookstore.ask(book(number))
        assert bookstore.ask(book(number))[1] == HIT
    answer, _ = bookstore.ask(
        "mutation { addReview(input: {bookId: 1, rating: 4}) { review { rating } "
        "userErrors { code } } }",
        bookstore.token,
    )
    assert answer["data"]["addReview"] == {"review": {"rating": 4}, "userErrors": []}
    assert bookstore.ask(book(1))[1] == STORED
    assert bookstore.ask(book(2))[1] == HIT


def test_a_refused_mutation_says_why(bookstore):
    refused = (
        "mutation { addReview(input: {bookId: %s, rating: %s}) { userErrors { field code } } }"
    )
    for number, rating, token, error in (
        (1, 6, bookstore.token, {"field": "rating", "code": "INVALID"}),
        (4, 5, bookstore.token, {"field": "bookId", "code": "NOT_FOUND"}),  # the draft
        (1, 5, None, {"field": None, "code": "UNAUTHENTICATED"}),
    ):
        answer, _ = bookstore.ask(refused % (number, rating), token)
        assert answer["data"]["addReview"]["userErrors"] == [error]


def test_a_review_is_its_readers_until_it_is_approved(bookstore):
    bookstore.ask("mutation { addReview(input: {bookId: 3, rating: 2}) { userErrors { code } } }",
                  bookstore.token)  # fmt: skip
    own, _ = bookstore.ask(book(3), bookstore.token)
    others, _ = bookstore.ask(book(3))
    assert own["data"]["book"]["reviews"] == [{"rating": 2}]
    assert others["data"]["book"]["reviews"] == []
    bookstore.manage("shell", text="from books.models import Review\n"
                     "Review.objects.filter(book=3).update(is_approved=True)\n")  # fmt: skip
    others, _ = bookstore.ask(book(3))
    assert others["data"]["book"]["reviews"] == [{"rating": 2}]


def test_staff_see_a_review_before_it_is_approved(bookstore):
    bookstore.ask("mutation { addReview(input: {bookId: 5, rating: 3}) { userErrors { code } } }",
                  bookstore.token)  # fmt: skip
    staffs, _ = bookstore.ask(book(5), bookstore.staff_token)
    others, _ = bookstore.ask(book(5))
    assert staffs["data"]["book"]["reviews"] == [{"rating": 3}]
    assert others["data"]["book"]["reviews"] == []


def test_a_published_book_appears_in_every_list(bookstore):
    lists = (
        "{ books { id } author: book(id: 1) { author { books { id } } genres { books { id } } } }"
    )

    def publish(published):
        update = f"Book.objects.filter(pk=3).update(is_published={published})"
        bookstore.manage("shell", text=f"from books.models import Book\n{update}\n")
        answer, _ = bookstore.ask(lists)
        shown, edges = answer["data"]["books"], answer["data"]["author"]
        return [{"id": "3"} in each for each in
                (shown, edges["author"]["books"], edges["genres"][0]["books"])]  # fmt: skip

    assert publish(published=False) == [False] * 3
    assert publish(published=True) == [True] * 3


def test_connections_answer_as_the_guide_says(bookstore):
    guide = (ROOT / "docs" / "guide" / "add-a-connection.md").read_text()
    (query,) = re.findall(r"```graphql\n(.*?)```", guide, re.DOTALL)
    (expected,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    for _ in range(2):
        answer, status = bookstore.ask(query)
        assert answer == {"data": json.loads(expected)}
    assert status == HIT


def test_a_new_title_moves_a_book_in_its_connections(bookstore):
    def page(order):
        connection = (
            f"booksConnection(first: 2, orderBy: [{{field: {order}}}]) {{ nodes {{ title }} }}"
        )
        answer, status = bookstore.ask(f"{{ book(id: 1) {{ author {{ {connection} }} }} }}")
        nodes = answer["data"]["book"]["author"]["booksConnection"]["nodes"]
        return [node["title"] for node in nodes], status

    def rename(title):
        update = f"Book.objects.filter(pk=3).update(title={title!r})"
        bookstore.manage("shell", text=f"from books.models import Book\n{update}\n")
        return page("TITLE")[0]

    assert page("ID")[0] == page("TITLE")[0] == ["Book 1", "Book 2"]
    assert rename("An Étude") == ["An Étude", "Book 1"]
    assert page("ID")[1] == HIT  # this page neither shows the book nor sorts by titles
    assert rename("Book 3") == ["Book 1", "Book 2"]


def test_check_finds_nothing_wrong(bookstore):
    assert "no issues" in bookstore.manage("check")


def test_the_production_settings_are_complete(bookstore):
    told = bookstore.manage(
        "check", "--deploy", SECRET_KEY=token_urlsafe(60), ALLOWED_HOSTS="shop.example.org",
        DJANGO_SETTINGS_MODULE="bookstore.production",
    )  # fmt: skip
    assert "no issues" in told


def test_static_files_need_no_collectstatic_in_development(bookstore):
    assert b"--primary" in bookstore.get("/static/admin/css/base.css")


def test_the_admin_changes_a_book_and_the_cache_knows(bookstore):
    bookstore.ask(book(5))
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def page(path, **fields):
        url = bookstore.url + path
        shown = opener.open(url).read().decode()
        if not fields:
            return shown
        (secret,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', shown))
        data = urlencode({"csrfmiddlewaretoken": secret, **fields}).encode()
        return opener.open(url, data).read().decode()

    page("/admin/login/?next=/admin/", username="staff", password="staff")
    page(
        "/admin/books/book/5/change/",
        title="Another title",
        author="2",
        is_published="on",
        **{f"bookgenre_set-{name}": value for name, value in
           (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0), ("MIN_NUM_FORMS", 0), ("MAX_NUM_FORMS", 0))},
    )  # fmt: skip
    answer, status = bookstore.ask(book(5))
    assert (answer["data"]["book"]["title"], status) == ("Another title", STORED)
    assert "Response cache" in page("/admin/")


def test_flush_cache_removes_what_it_is_told_to(bookstore):
    bookstore.ask(book(1))
    bookstore.ask(book(3))
    assert "removed" in bookstore.manage("flush_cache", "--type", "Book", "--id", "1")
    assert bookstore.ask(book(1))[1] == STORED
    assert bookstore.ask(book(3))[1] == HIT
    bookstore.manage("flush_cache", "--all")
    assert bookstore.ask(book(3))[1] == STORED


def test_pages_commands_and_metrics_are_the_engines(bookstore):
    assert b"cache_hits_total" in bookstore.get("/metrics")
    assert b"database: ok" in bookstore.get("/readyz")
    assert "hit rate" in bookstore.manage("cache_stats")
    schema = ("--schema=bookstore.schema.schema", "--out=-.graphql")
    assert "type Review" in bookstore.manage("graphql_schema", *schema)
