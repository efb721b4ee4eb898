"""The weights of an Accept header (RFC 9110 section 12.4.2)."""

import re

QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def quality_values(accept: str) -> dict[str, float]:
    """Each media range of the header, in lower case, with its weight from 0 to 1."""
    ranges: dict[str, float] = {}
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = _weight(parameters)
        if name and weight is not None:
            ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges


def _weight(parameters: list[str]) -> float | None:
    """The weight among ``parameters``: 1 when none is there, None when it is malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            return float(value) if QVALUE.fullmatch(value) else None
    return 1.0
