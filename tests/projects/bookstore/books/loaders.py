"""Loaders of books: one SQL statement for any number of keys."""

from django.db.models import QuerySet

from books.filters import BOOK_FILTERS, BOOK_ORDERS
from books.models import Author, Book, Genre, Review
from books.policy import visible_books, visible_reviews
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.pagination.loaders import ConnectionLoader, RootConnectionLoader
from pcf.viewer import Viewer


class AuthorById(RowLoader):
    """Authors by primary key."""

    model = Author
    dependency = "author"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Author]:
        """Return all authors: they are public."""
        del viewer
        return Author.objects.all()


class _Books(RowLoader):
    model = Book

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Book]:
        """Return the books that the viewer may see."""
        return Book.objects.filter(visible_books(viewer))


class BookById(_Books):
    """Books by primary key."""

    dependency = "book"


class AllBooks(_Books, RootPageLoader):
    """A page of all books, by id. Arguments: ``first``, ``after``."""

    dependency = "books"
    row_dependency = "book"


class BooksByAuthor(_Books, PageLoader):
    """A page of each author's books, by id."""

    dependency = "books-by-author"
    row_dependency = "book"
    key = "author_id"


class BooksByGenre(_Books, PageLoader):
    """A page of the books of each genre, by id."""

    dependency = "books-by-genre"
    row_dependency = "book"
    key = "bookgenre__genre_id"


class BookConnections(_Books, RootConnectionLoader):
    """A page of all books, filtered and sorted."""

    dependency = "books"
    row_dependency = "book"
    orders = BOOK_ORDERS
    filters = BOOK_FILTERS


class BookConnectionsByAuthor(_Books, ConnectionLoader):
    """A page of each author's books, filtered and sorted."""

    dependency = "books-by-author"
    row_dependency = "book"
    key = "author_id"
    orders = BOOK_ORDERS
    filters = BOOK_FILTERS
    unindexed = frozenset({"ID", "TITLE"})  # an author has few books


class GenresByBook(RowListLoader):
    """The genres of each book, by id."""

    model = Genre
    dependency = "genres-by-book"
    row_dependency = "genre"
    key = "bookgenre__book_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Genre]:
        """Return all genres: they are public."""
        del viewer
        return Genre.objects.all()


class ReviewsByBook(PageLoader):
    """A page of each book's reviews, by id."""

    model = Review
    dependency = "reviews-by-book"
    row_dependency = "review"
    key = "book_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Review]:
        """Return the reviews that the viewer may see."""
        return Review.objects.filter(visible_reviews(viewer))
