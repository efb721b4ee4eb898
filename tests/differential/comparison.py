"""Comparison of both servers' answers to a stream."""

import re
from typing import Any

from tests.differential.raw_http import Answer
from tests.differential.rules import (
    BOTH_END,
    CONNECTION_IS_A_LIST,
    GO_ON,
    PCF_ENDS,
    PLAIN_ENDS,
    RULES,
    Case,
    closes_alone,
    refused,
)

# Headers of the connection, the clock and the cache: the second request is a hit.
LEFT_OUT = {"server", "date", "connection", "age", "cache-status", "transfer-encoding", "expires"}
SECRETS = re.compile(rb"nonce=\"[^\"]+\"|csrfmiddlewaretoken\" value=\"\w+\"")
SECRET_VALUES = re.compile(r"nonce-[\w-]+|csrftoken=\w+|expires=[^;]+")


class Differs(AssertionError):
    """The servers differ, and no rule says that they may."""


def compare(stream: Any, pcf: list[Answer], plain: list[Answer]) -> list[str]:
    """Return the names of the rules that were needed. Raises Differs."""
    pcf = [answer for answer in pcf if answer.status >= 200]  # 100 Continue depends on the cuts
    plain = [answer for answer in plain if answer.status >= 200]
    sent = [request.identity for request in stream.requests]
    check_order(sent, pcf)
    check_order(sent, plain)
    used = []
    for number in range(max(len(pcf), len(plain))):
        request = stream.requests[min(number, len(sent) - 1)]
        case = Case(
            request,
            pcf[number] if number < len(pcf) else None,
            plain[number] if number < len(plain) else None,
            stream.requests[number - 1] if 0 < number <= len(sent) else None,
        )
        rule = None
        if not same(case.pcf, case.plain, sent):
            rule = next((rule for rule in RULES if rule.applies(case)), None)
            if rule is None:
                raise Differs(f"{request.changed} {case.statuses}\n{pcf}\n{plain}")
            used.append(rule.name)
        if rule is None or rule.then == GO_ON:
            if number + 1 == len(pcf) < len(plain) and closes_alone(case):
                return [*used, CONNECTION_IS_A_LIST]
            continue
        if rule.then in {PCF_ENDS, BOTH_END} and number + 1 < len(pcf):
            raise Differs(f"PCF goes on after an end: {rule.name}\n{pcf}")
        if rule.then in {PLAIN_ENDS, BOTH_END} and number + 1 < len(plain):
            raise Differs(f"the plain server goes on after an end: {rule.name}\n{plain}")
        return used
    return used


def check_order(sent: list[str], answers: list[Answer]) -> None:
    """Every answer that names its request follows the answers to the requests before it."""
    named = [found for answer in answers if (found := answer.get("x-request-id")) in sent]
    places = [sent.index(identity) for identity in named]
    if places != sorted(set(places)):
        raise Differs(f"answers in another order, or twice: {named}")
    for answer in answers:
        identity = answer.get("x-request-id")
        for other in sent if identity in sent else ():
            if other != identity and b'"%b"' % other.encode() in answer.body:
                raise Differs(f"the answer to {identity} has the content of {other}")
    for answer in answers[:-1]:
        if answer.get("connection") == "close":
            raise Differs("an answer follows one that says that the connection ends")
    if any(not answer.whole for answer in answers):
        raise Differs("an answer is cut off")


def same(one: Answer | None, other: Answer | None, sent: list[str]) -> bool:
    """Return whether two answers are equal except for the headers that are left out."""
    if one is None or other is None:
        return one is other
    if refused(one) and refused(other):
        return one.status == other.status  # each server has its own message
    return seen(one, sent) == seen(other, sent)


def seen(answer: Answer, sent: list[str]) -> tuple[Any, ...]:
    """Return the parts of an answer that must be equal on both servers."""
    headers = []
    for name, value in answer.headers:
        if name == "x-request-id" and value not in sent:
            value = "made by the server"  # noqa: PLW2901
        if name not in LEFT_OUT:
            headers.append((name, SECRET_VALUES.sub("", value)))
    return answer.version, answer.status, sorted(headers), SECRETS.sub(b"", answer.body)
