"""Requests of hostile clients that stay within their limits: the kinds, and random documents."""

import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

Request = bytes
Attack = Callable[[Random], list[Request]]

BIG_AUTHOR = 2  # their notes have BIG_NOTES texts of BIG_TEXT characters, with all tags
BIG_NOTES, BIG_TEXT = 100, 100_000


def request(query: str, variables: Any = None, **parameters: Any) -> Request:
    return json.dumps({"query": query, "variables": variables, **parameters}).encode()


def aliases(number: int, length: int, field: str) -> str:
    return " ".join(f"{'x' * (length - 2)}{n:02d}: {field}" for n in range(number))


def registering(text: str) -> Request:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return request(text, extensions={"persistedQuery": {"version": 1, "sha256Hash": digest}})


def nested(fields: str, first: int = 10) -> str:
    """Return a document whose innermost lists have 50,000 objects together, with ``first`` 10."""
    return f"{{tags(first:50){{notes(first:100){{author{{notes(first:{first}){{{fields}}}}}}}}}}}"


def texts(first: int) -> str:
    return f"{{userNotes(userId:{BIG_AUTHOR},first:{first}){{content}}}}"


BAD_NOTES = 'notes(first:1,after:"x"){id}'
TAG_NOTE = "mutation($x:NoteTagsInput!){tagNote(input:$x){note{id}}}"
CREATE_NOTE = "mutation($x:CreateNoteInput!){createNote(input:$x){note{id}}}"

ATTACKS: dict[str, Attack] = {
    "long aliases": lambda _: [request(nested(aliases(29, 480, "title")))] * 16,
    "short aliases": lambda _: [request(nested(aliases(25, 4, "createdAt"), 9))] * 16,
    "as many rows as the cost allows": lambda _: [request(nested("id", 16))] * 16,
    "all fields": lambda _: [request(nested("id title content createdAt updatedAt"))] * 16,
    "aliases of introspection": lambda _: [
        request(f"{{__schema{{types{{fields{{{aliases(29, 480, 'name')}}}}}}}}}")
    ] * 16,
    "a text many times": lambda _: [
        request(f"{{userNotes(userId:{BIG_AUTHOR},first:3){{{aliases(29, 3, 'content')}}}}}")
    ] * 16,
    "texts": lambda _: [request(texts(39))] * 16,
    "too many texts": lambda _: [request(texts(100))] * 16,
    "too many texts of all tags": lambda _: [
        request('{tags(first:50){notes(first:100,after:"10000"){content}}}')
    ] * 6,
    "texts of twenty root fields": lambda _: [
        request("{" + " ".join(f"a{n}: {texts(30)[1:-1]}" for n in range(20)) + "}")
    ] * 6,
    "errors": lambda _: [request(
        f"{{tags(first:50){{notes(first:100){{author{{{aliases(15, 4, BAD_NOTES)}}}}}}}}}"
    )] * 16,
    "new documents": lambda random: [
        request(f"{{users(first:1){{{aliases(28, 12, 'name')} a{random.getrandbits(60)}: name}}}}")
        for _ in range(200)
    ],
    "values": lambda _: [
        request(TAG_NOTE, {"x": {"noteId": 1, "tagIds": ["1"] * 4_900}})
    ] * 40,
    "too many values": lambda _: [
        b'{"query":"{me{id}}","extensions":{"a":[' + b"[]," * 330_000 + b"1]}}"
    ] * 60,
    "large values": lambda _: [request(CREATE_NOTE, {"x": {"title": "x" * 480_000}})] * 40,
    "broken bodies": lambda _: [b"{" + b"x" * 990_000] * 60,
    "large responses to store": lambda _: [
        request(f"{{users(first:100){{a{n}: name {aliases(16, 480, 'name')}}}}}") for n in range(60)
    ],
    "small responses to store": lambda _: [
        request(f'{{users(first:1,after:"{n}"){{id}}}}') for n in range(300)
    ],
    "responses with many dependencies": lambda _: [
        request(f'{{notes(first:100,after:"{90 * n}"){{id author{{id}}}}}}') for n in range(100)
    ],
    "persisted documents": lambda _: [
        registering(f"{{tags(first:1){{id}}}} #{n}{'x' * 14_000}") for n in range(150)
    ],
}  # fmt: skip


# --- random documents

LEAVES = {
    "User": ("id", "name", "email", "createdAt", "__typename"),
    "Note": ("id", "title", "content", "isPublic", "createdAt", "updatedAt", "__typename"),
    "Tag": ("id", "name", "__typename"),
}
LISTS = {
    "Query": (("users", "User"), ("notes", "Note"), ("tags", "Tag")),
    "User": (("notes", "Note"),),
    "Note": (),
    "Tag": (("notes", "Note"),),
}
ONES = {
    "Query": (("me", "User"), ("user(id: 2)", "User"), ("note(id: 1)", "Note")),
    "User": (), "Note": (("author", "User"),), "Tag": (),
}  # fmt: skip


def random_document(random: Random) -> Request:
    """Return a request with a valid document, whose cost is around the limit."""
    left = [29]  # aliases

    def named(field: str) -> str:
        if left[0] and random.random() < 0.5:
            left[0] -= 1
            return f"{'y' * random.choice([1, 8, 60, 460])}{left[0]}: {field}"
        return field

    def selection(type_: str, depth: int) -> str:
        fields = [named(random.choice(LEAVES[type_])) for _ in range(random.randint(1, 12))]
        return "{" + " ".join([*fields, *children(type_, depth)]) + "}"

    def children(type_: str, depth: int) -> list[str]:
        found = []
        if depth:
            for field, inner in LISTS[type_]:
                first = random.choice([1, 5, 20, 100])
                found.append(f"{named(field)}(first: {first}) {selection(inner, depth - 1)}")
            for field, inner in ONES[type_]:
                if random.random() < 0.5:
                    found.append(f"{named(field)} {selection(inner, depth - 1)}")
            if type_ == "Note":
                found.append(f"{named('tags')} {selection('Tag', depth - 1)}")
        return found

    return request("{" + " ".join(children("Query", random.randint(1, 4))) + "}")


def random_documents(random: Random) -> list[Request]:
    return [random_document(random) for _ in range(120)]


ATTACKS["random documents"] = random_documents

STORING = {
    "large responses to store", "small responses to store", "responses with many dependencies",
    "persisted documents", "random documents", "texts",
}  # fmt: skip
"""The attacks whose responses the cache may store."""
