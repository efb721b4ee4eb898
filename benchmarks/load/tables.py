"""Tables of the report."""

from html import escape


def table(header: list[str], rows: list[list[str]], classes: dict[tuple[int, int], str]) -> str:
    """Return an HTML table. ``classes`` are the style classes of cells by row and column."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{classes.get((y, x), "")}">{escape(cell)}</td>'
            for x, cell in enumerate(row)
        )
        + "</tr>"
        for y, row in enumerate(rows)
    )
    return f"<table><tr>{head}</tr>{body}</table>"
