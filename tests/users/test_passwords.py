"""Passwords: the limit of hashing, the rules, Argon2."""

from threading import Barrier, Event, Thread

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password

from pcf.timeouts import TimeoutContext, activate
from tests.users.accounts import LOG_IN, SIGN_UP, log_in, person
from users import passwords
from users.passwords import HashingLimit, TooManyPasswords


def test_passwords_are_hashed_by_argon2(settings):
    import settings as package

    settings.PASSWORD_HASHERS = package.base.PASSWORD_HASHERS
    text = make_password("secret")
    assert text.startswith("argon2$argon2id$v=19$m=47104,t=1,p=1$")
    assert check_password("secret", text)
    assert not check_password("Secret", text)


@pytest.mark.django_db
def test_a_hash_of_other_values_is_replaced_at_a_log_in(settings):
    import settings as package

    settings.PASSWORD_HASHERS = package.base.PASSWORD_HASHERS
    user = person()
    user.password = Argon2PasswordHasher().encode("secret", "a salt of 16 bytes")
    user.save()
    assert user.check_password("secret")
    user.refresh_from_db()
    assert user.password.startswith("argon2$argon2id$v=19$m=47104,t=1,p=1$")
    assert user.check_password("secret")


def occupy(limit, count):
    """Hold ``count`` places of ``limit``; return the threads and the event that frees them."""
    inside, free = Barrier(count + 1), Event()

    def hold():
        with limit.acquire():
            inside.wait()
            free.wait()

    threads = [Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    inside.wait()
    return threads, free


def release(threads, free):
    free.set()
    for thread in threads:
        thread.join()


def test_beyond_the_limit_a_request_is_refused_at_once():
    limit = HashingLimit(2, admitted=2)
    held = occupy(limit, 2)
    with pytest.raises(TooManyPasswords), limit.acquire():
        pass
    release(*held)
    with limit.acquire():
        pass


def test_an_admitted_request_waits_no_longer_than_its_deadline_allows():
    limit = HashingLimit(1, admitted=2)
    held = occupy(limit, 1)
    with (
        activate(TimeoutContext.start("http", 0.1)),
        pytest.raises(TooManyPasswords),
        limit.acquire(),
    ):
        pass
    release(*held)


def test_an_admitted_request_goes_on_when_another_ends():
    limit = HashingLimit(1, admitted=2)
    threads, free = occupy(limit, 1)
    done = Event()

    def second():
        with limit.acquire():
            done.set()

    waiting = Thread(target=second)
    waiting.start()
    assert not done.is_set()
    release(threads, free)
    waiting.join()
    assert done.is_set()


@pytest.mark.django_db
@pytest.mark.parametrize("mutation", [LOG_IN, SIGN_UP])
def test_a_client_beyond_the_limit_gets_503(ask, monkeypatch, mutation):
    person()
    limit = HashingLimit(1, admitted=1)
    monkeypatch.setattr(passwords, "limit", limit)
    held = occupy(limit, 1)
    values = {"username": "ann", "password": "another horse battery"}
    if mutation is SIGN_UP:
        values |= {"username": "bob", "email": "bob@example.org", "name": "Bob"}
    answer = ask(mutation, None, {"input": values})
    release(*held)
    assert (answer.status, answer.codes) == (503, ["SERVICE_UNAVAILABLE"])
    assert answer.headers["Retry-After"] == "1"
    assert log_in(ask)["userErrors"] == []


def test_passwords_never_occupy_all_threads(settings):
    assert passwords.limit._admitted._initial_value == settings.THREADS // 2
