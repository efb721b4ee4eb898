"""Choosing the media type of an answer: the Accept header (RFC 9110 sections 12.4.2 and 12.5.1)."""

import re

QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
UTF8 = frozenset({"utf-8", "utf8"})


def quality_values(accept: str) -> dict[str, float]:
    """Each media range of the header, in lower case, with its weight from 0 to 1.

    A range whose weight is malformed, and one of another charset than UTF-8, is left out.
    """
    ranges: dict[str, float] = {}
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = _weight(parameters)
        if name and weight is not None:
            ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges


def quality(media_type: str, ranges: dict[str, float]) -> float:
    """The weight of ``media_type``: that of the most specific range that matches it, or 0."""
    main_type = media_type.partition("/")[0]
    for media_range in (media_type, f"{main_type}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0


def _weight(parameters: list[str]) -> float | None:
    """The weight among ``parameters``: 1 when none is there, None when the range is no use."""
    weight: float | None = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in UTF8:
            return None
        if name == "q":
            weight = float(value) if QVALUE.fullmatch(value) else None
    return weight
