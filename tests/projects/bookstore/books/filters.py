"""What clients may sort and filter books by."""

from books.models import Book
from pcf.pagination.filter_types import IDFilter, StringFilter
from pcf.pagination.filters import FilterSet
from pcf.pagination.orders import Order, OrderSet, Term

BOOK_ORDERS = OrderSet(
    "Book",
    {"TITLE": Order("title_folded", "By title, without regard to case and accents.")},
    default=(Term("TITLE", descending=False),),
)

BOOK_FILTERS = FilterSet(
    "Book",
    Book,
    {
        "id": IDFilter("pk", "The id of the book.", columns=()),
        "title": StringFilter("title_folded", "The title, without regard to case and accents."),
    },
)
