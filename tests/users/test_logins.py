"""Log-ins to the admin: locks by account and by address, and the policy of the pages."""

import logging
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from pcf.http.middleware import CSP_DIRECTIVES, CSP_POLICY, CSPMiddleware
from tests.conftest import make_user
from users import passwords
from users.models import User
from users.passwords import HashingLimit

pytestmark = pytest.mark.django_db

LOGIN = reverse("admin:login")
LIMIT = 5


@pytest.fixture
def root() -> User:
    user = make_user("Root", is_staff=True, is_superuser=True)
    user.set_password("right")
    user.save()
    return user


def log_in(username: str = "root", password: str = "right", address: str = "192.0.2.1"):
    data = {"username": username, "password": password, "next": "/admin/"}
    return Client(REMOTE_ADDR=address).post(LOGIN, data)


def test_the_right_password_opens_the_admin(root):
    assert log_in().status_code == 302


def test_too_many_passwords_at_once_are_refused(root, monkeypatch):
    monkeypatch.setattr(passwords, "limit", limit := HashingLimit(1, admitted=1))
    with limit.acquire():
        refused = log_in()
    assert refused.status_code == 200
    assert "Too many people log in at the moment; try again" in refused.content.decode()
    assert not AccessAttempt.objects.exists()  # it is no failure of the account
    assert log_in().status_code == 302


def test_an_account_is_locked_from_every_address(root):
    for number in range(LIMIT):
        assert log_in(password="wrong", address=f"192.0.2.{number}").status_code in (200, 429)
    assert log_in(address="198.51.100.7").status_code == 429
    assert log_in(username="other", address="198.51.100.7").status_code == 200


def test_an_address_is_locked_for_every_account(root):
    for number in range(LIMIT):
        log_in(username=f"user{number}", password="wrong")
    assert log_in().status_code == 429
    assert log_in(address="198.51.100.7").status_code == 302


@pytest.mark.parametrize(
    ("proxies", "forwarded", "status"),
    [
        (1, "198.51.100.{number}", 302),  # five clients behind one proxy
        (1, "{number}.1.1.1, 198.51.100.7", 429),  # one client that invents addresses
        (1, "2001:db8:0:1::{number}", 429),  # one client with a network
        (1, "2001:db8:0:{number}::1", 302),
        (0, "198.51.100.{number}", 429),  # without a proxy, the client wrote the header
    ],
)
def test_the_address_is_that_of_the_client(root, settings, proxies, forwarded, status):
    rates = replace(settings.PCF.rates, trusted_proxies=proxies)
    settings.PCF = replace(settings.PCF, rates=rates)
    for number in range(1, LIMIT + 1):
        client = Client(headers={"X-Forwarded-For": forwarded.format(number=number)})
        client.post(LOGIN, {"username": f"user{number}", "password": "wrong"})
    headers = {"X-Forwarded-For": forwarded.format(number=1)}
    data = {"username": "root", "password": "right", "next": "/admin/"}
    assert Client(headers=headers).post(LOGIN, data).status_code == status


def test_a_success_before_the_limit_resets_the_count(root):
    for _ in range(2):
        for _ in range(LIMIT - 1):
            assert log_in(password="wrong").status_code == 200
        assert log_in().status_code == 302


def test_the_lock_page_says_why_and_until_when(root):
    for _ in range(LIMIT):
        response = log_in(password="wrong")
    assert response.status_code == log_in().status_code == 429
    assert response["Retry-After"] == "900"
    text = re.sub(r"\s+", " ", response.content.decode())
    assert "5 log-ins failed for this account or from this address." in text
    assert "for 15 minutes" in text
    assert "root" not in text


def test_the_lock_ends_and_further_attempts_do_not_prolong_it(root):
    for _ in range(LIMIT + 3):
        log_in(password="wrong")
    assert log_in().status_code == 429
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert log_in().status_code == 302


def test_the_log_has_a_line_for_a_failure_and_none_for_a_log_in(root, caplog):
    """A further line says when the account is locked."""
    log_in()
    assert axes_lines(caplog) == []
    for _ in range(LIMIT - 1):
        caplog.clear()
        log_in(password="wrong")
        assert len(axes_lines(caplog)) == 1
    caplog.clear()
    log_in(password="wrong")
    failure, lock = axes_lines(caplog)
    assert failure.startswith("AXES: Repeated login failure")
    assert lock.startswith("AXES: Locking out")


def axes_lines(caplog):
    return [each.getMessage() for each in caplog.records if each.name.startswith("axes")]


def test_failures_are_logged_without_name_and_password(root, caplog):
    caplog.set_level(logging.DEBUG)
    log_in(username="my-secret-password", password="distinctive-password")
    assert "New login failure" in caplog.text
    assert "192.0.2.1" in caplog.text
    assert "my-secret-password" not in caplog.text
    assert "distinctive-password" not in caplog.text
    stored = str(list(AccessAttempt.objects.values()))
    assert "distinctive-password" not in stored


@pytest.mark.parametrize("username", ["\0", "x" * 300, "é\ud7ff", "' OR 1=1 --"])
def test_odd_names_cause_no_errors(root, username):
    assert log_in(username=username).status_code == 200


# pages


def test_the_policy_allows_no_other_origin_and_no_inline_code():
    directives = dict(CSP_DIRECTIVES)
    assert directives.pop("img-src") == "'self' data:"  # in the admin's own style sheets
    assert set(directives.values()) == {"'self'", "'none'"}
    assert directives["default-src"] == "'none'"


def test_pages_of_the_admin_have_no_other_origin_and_no_inline_code(root, client):
    client.force_login(root)
    for name in ("index", "login", "users_user_changelist", "users_apitoken_add", "notes_note_add"):
        response = client.get(reverse(f"admin:{name}"), follow=True)
        policy = response["Content-Security-Policy"]
        assert policy == CSP_POLICY
        html = response.content.decode()
        assert not re.findall(r"<style|<script(?![^>]*(src=|type=\"application/json\"))", html)
        assert not re.findall(r"\s(style|on[a-z]+)=\"", html)


def test_the_page_of_a_new_token_follows_the_policy(root, client):
    client.force_login(root)
    data = {"user": root.pk, "name": "t", "scope": "admin"}
    response = client.post(reverse("admin:users_apitoken_add"), data)
    assert response.context["token"].plain_text in response.content.decode()
    assert response["Content-Security-Policy"] == CSP_POLICY
    assert not re.findall(r"<style|\s(style|on[a-z]+)=\"", response.content.decode())


@pytest.mark.parametrize("status", [404, 500])
def test_pages_for_debugging_are_left_alone_and_those_of_production_are_not(rf, settings, status):
    def page(_request):
        return HttpResponse("<h1>Oops</h1>", status=status)

    for settings.DEBUG in (True, False):
        response = CSPMiddleware(page)(rf.get("/"))
        assert ("Content-Security-Policy" in response) is not settings.DEBUG


def test_a_page_with_a_policy_of_its_own_keeps_it(client):
    policy = client.get("/graphql", headers={"Accept": "text/html"})["Content-Security-Policy"]
    assert policy != CSP_POLICY
    assert "nonce-" in policy


@pytest.mark.parametrize("path", ["/graphql?query={me{id}}", "/livez", "/metrics"])
def test_answers_to_programs_carry_no_policy(client, path):
    assert "Content-Security-Policy" not in client.get(path)
