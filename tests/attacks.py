"""Hostile documents, by what is hostile about them; each must be refused."""

WIDE_FRAGMENTS = " ".join(f"fragment F{n} on User {{ id }}" for n in range(100))
CYCLE = " ".join(f"fragment F{n} on User {{ ...F{(n + 1) % 20} id }}" for n in range(20))
DOUBLING = " ".join(f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(25))
OVERLAPPING = " ".join(
    f"fragment F{n} on User {{ notes {{ author {{ ...F{n + 1} ...F{n + 2} }} }} }}"
    for n in range(20)
)

DOCUMENTS = {
    "deep": "{ me { " + "notes { author { " * 40 + "id" + " } }" * 40 + " } }",
    "deep braces": "{" * 5_000,
    "deep, just within the nesting of braces": "{ me" + " { notes { author" * 9
    + "{ id" + " }" * 20,
    "deep types": "query ($a: " + "[" * 400 + "Int" + "]" * 400 + ") { me { id } }",
    "deep values": "{ users(first: " + "[" * 400 + "1" + "]" * 400 + ") { id } }",
    "wide": "{ me { " + "id " * 10_000 + "} }",
    "wide, just within the tokens": "{ me { " + "id " * 490 + "} }",
    "field duplication (graphql-cop)": "query cop { " + "__typename \n " * 500 + "}",
    "aliases": "{ " + " ".join(f"a{n}: me {{ id }}" for n in range(101)) + " }",
    "alias overloading (graphql-cop)": "query cop { " + " ".join(
        f"alias{n}:__typename \n" for n in range(101)) + " }",
    "directives": "{ me { id " + "@skip(if: true) " * 100 + "} }",
    "directive overloading (graphql-cop)": "query cop { __typename " + "@aa" * 10 + " }",
    "many directives": "query cop { __typename " + "@aa" * 400 + " }",
    "fields of five names": "{ me { " + "id name email createdAt " * 120 + "} }",
    "unknown fields": "{ me { " + " ".join(f"nmae{n}" for n in range(480)) + " } }",
    "unknown arguments": "{ users(" + " ".join(f"frst{n}: 1" for n in range(160)) + ") { id } }",
    "unknown variables": "{ users(" + " ".join(f"first: $v{n}" for n in range(120)) + ") { id } }",
    "many root fields": "{ " + "me { id } tags { id } users { id } " * 60 + "}",
    "many fragments": "{ me { id } } " + WIDE_FRAGMENTS,
    "cycle of fragments": "{ me { ...F0 } } " + CYCLE,
    "fragment of itself": "{ me { ...F } } fragment F on User { ...F }",
    "doubling fragments": "{ me { ...F0 } } " + DOUBLING + " fragment F25 on User { ...No }",
    "overlapping fragments": "{ me { ...F0 } } " + OVERLAPPING
    + " fragment F20 on User { id } fragment F21 on User { id }",
    "circular introspection (graphql-cop)":
        "query cop { __schema { types { fields { type { fields { type { fields { type { fields { "
        "name } } } } } } } } }",
    "expensive": "{ users(first: 100) { notes { tags { notes { id } } } } }",
    "lists in lists": "{ users { notes { tags { notes { tags { notes { id } } } } } } }",
    "huge integer": "{ users(first: " + "9" * 5_000 + ") { id } }",
    "huge integer for an id": "{ user(id: " + "9" * 5_000 + ") { id } a: nope }",
    "huge float": "{ slowQuery(delay: 1e" + "9" * 400 + ") nope }",
    "long string": '{ notes(tag: "' + "x" * 900_000 + '") { id } }',
    "string without an end": '{ notes(tag: "' + "x" * 14_000,
    "block string without an end": '{ notes(tag: """' + '\\"""' * 3_600,
    "comments": "#\n" * 7_000,
    "spaces": "{ me { id } }" + " " * 14_990,
    "commas": "," * 14_990,
    "NUL": "{ me { id } }\0",
    "lone surrogate": "{ me { id } } \ud800",
    "right to left": "{ me { \u202e id } }",
    "operations": " ".join(f"query Q{n} {{ ...F }}" for n in range(60)) + " fragment F on Query "
    "{ " + " ".join("me { id name email createdAt } users { id }" for _ in range(5)) + " }",
    "variables": "query (" + " ".join(f"$v{n}: Int" for n in range(120)) + ") { me { id } }",
    "type system": "type A { " + "a: Int " * 150 + "}",
    "subscription": "subscription { me { id } }",
}  # fmt: skip
