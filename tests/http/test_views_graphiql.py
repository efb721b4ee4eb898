"""The GraphiQL page: its files are the project's own, and it may load nothing else."""

import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.storage import FileSystemStorage
from django.http import HttpResponse
from django.test import RequestFactory

from pcf.http.views import graphiql_page, wants_html

FOLDER = Path(__file__).parents[2] / "pcf" / "static" / "pcf" / "graphiql"
OWN = {"VERSIONS", "LICENSE.bundled.txt", "pcf-graphiql.js", "pcf-graphiql.css"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def urls(self):
        return [
            attributes[name]
            for _, attributes in self.found
            for name in ("src", "href", "action")
            if name in attributes
        ]


@pytest.fixture
def page() -> HttpResponse:
    return graphiql_page(RequestFactory().get("/graphql"))


@pytest.fixture
def elements(page):
    return Elements(page.content.decode())


def directives(page):
    policy = page["Content-Security-Policy"]
    return {name: sources for name, *sources in (part.split() for part in policy.split(";"))}


def vendored():
    lines = (FOLDER / "VERSIONS").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def test_page_is_html_and_never_cached(page):
    assert page.status_code == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "no-store" in page["Cache-Control"]
    assert page["Vary"] == "Accept"


def test_page_names_only_static_files_of_the_project(elements, settings):
    urls = [url for url in elements.urls() if url != "data:,"]

    assert len(urls) == 6
    for url in urls:
        name = url.removeprefix(settings.STATIC_URL)
        assert url == settings.STATIC_URL + name
        found = finders.find(name)
        assert found
        assert Path(found).parent == FOLDER


def test_page_holds_no_script_style_or_handler_of_its_own(page, elements):
    text = page.content.decode()

    assert re.search(r"<script[^>]*>[^<]", text) is None
    assert "<style" not in text
    names = {name for _, attributes in elements.found for name in attributes}
    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}


def test_policy_lets_the_page_load_and_reach_its_own_origin_only(page):
    policy = directives(page)

    assert policy.pop("style-src")[0] == "'self'"
    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'none'"],
    }


def test_style_nonce_stands_in_page_and_policy_and_is_new_each_time(page, elements):
    nonces = [attributes["nonce"] for _, attributes in elements.found if "nonce" in attributes]
    other = graphiql_page(RequestFactory().get("/graphql"))

    assert len(nonces) == 1
    assert len(nonces[0]) >= 22
    assert directives(page)["style-src"] == ["'self'", f"'nonce-{nonces[0]}'"]
    assert directives(other)["style-src"] != directives(page)["style-src"]


def test_token_field_has_a_label(elements):
    labels = [attributes["for"] for tag, attributes in elements.found if tag == "label"]
    inputs = [attributes for tag, attributes in elements.found if tag == "input"]

    assert labels == ["pcf-token"]
    assert [(field["id"], field["type"]) for field in inputs] == [("pcf-token", "password")]


@pytest.mark.parametrize("entry", vendored(), ids=lambda entry: entry[3])
def test_vendored_file_is_the_one_that_versions_names(entry):
    _, _, _, name, digest = entry

    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_folder_holds_what_versions_names_and_nothing_else():
    assert {path.name for path in FOLDER.iterdir()} == OWN | {entry[3] for entry in vendored()}


def test_bundled_licences_are_those_of_the_vendored_version():
    versions = {package: version for package, version, *_ in vendored()}
    text = (FOLDER / "LICENSE.bundled.txt").read_text()

    assert f"GraphiQL {versions['graphiql']})" in text


def test_static_files_survive_hashed_names(tmp_path):
    """Production renames the files by their content, which fails on references to other files."""
    sources = FileSystemStorage(location=FOLDER.parents[1])
    names = [f"pcf/graphiql/{path.name}" for path in FOLDER.iterdir()]
    storage = ManifestStaticFilesStorage(location=tmp_path, base_url="/static/")

    results = list(storage.post_process({name: (sources, name) for name in names}))

    assert [str(outcome) for *_, outcome in results if isinstance(outcome, Exception)] == []
    assert {name for name, *_ in results} >= set(names)


@pytest.mark.parametrize(
    "accept",
    [
        BROWSER,
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "text/*",
        "text/*;q=0.5, */*;q=0.4",
        "text/html, application/json;q=0.9",
        "application/json;q=0.5 , text/html ; q=0.501",
        "text/html;q=0.1, application/*;q=0, */*;q=1",
        "application/json;q=nonsense, text/html;q=0.1",
        "text/html;q=0.7, text/html;level=1;q=0.2, */*;q=0.5",
    ],
)
def test_html_is_wanted(accept):
    assert wants_html(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        ",;,=",
        "*/*",
        "application/json",
        "application/json, text/html",
        "application/graphql-response+json, application/json;q=0.9",
        "application/graphql-response+json, text/html;q=0.9",
        "text/html;q=0.8, application/json;q=0.9",
        "text/html;q=0.5, application/*;q=0.6",
        "text/html;q=0",
        "text/html;q=0, */*;q=0.5",
        "text/html;q=0.5, */*;q=0.9",
        "text/html;q=1.5",
        "text/html;q=0.5555",
        "text/html;q=inf",
        "text/html;q=",
        "image/avif, text/plain",
    ],
)
def test_json_is_wanted(accept):
    assert not wants_html(accept)


@pytest.fixture
def production(settings):
    """The setting is off: only staff gets the page."""
    settings.PCF = replace(settings.PCF, features=replace(settings.PCF.features, graphiql=False))


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    ("who", "active", "expected"),
    [
        (None, True, "json"),
        ("ann", True, "json"),
        ("staff", True, "page"),
        ("staff", False, "json"),
    ],
)
def test_staff_gets_the_page_when_the_setting_is_off(world, client, who, active, expected):
    if who:
        user = getattr(world, who)
        client.force_login(user)
        type(user).objects.filter(pk=user.pk).update(is_active=active)
    answer = client.get("/graphql", headers={"accept": BROWSER})
    assert ("graphiql" in answer.content.decode()) == (expected == "page")
    assert answer.headers["Content-Type"].startswith(
        "text/html" if expected == "page" else "application/json"
    )
    if who:
        assert "Cookie" in answer.headers["Vary"]


@pytest.mark.usefixtures("production")
def test_the_log_in_of_staff_is_no_token(world, client):
    client.force_login(world.staff)
    query = {"query": "{ me { name } }"}
    answer = client.post("/graphql", query, content_type="application/json")
    assert answer.json() == {"data": {"me": None}}
