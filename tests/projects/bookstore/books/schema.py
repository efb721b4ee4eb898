"""The types and queries of books. Edges lead from one type to another through loaders."""

import graphene
from graphene_django import DjangoObjectType

from books.models import Author, Book, Genre, Review
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route
from pcf.execution.paging import page_of, parse_id
from pcf.pagination.fields import ConnectionField, RowConnection


class AuthorType(DjangoObjectType):
    """A person who writes books."""

    books = Edge("books.schema.BookType", loader="books.BooksByAuthor", many=True, first=20)
    books_connection = ConnectionField(
        "books.schema.BookConnection", loader="books.BookConnectionsByAuthor"
    )

    class Meta:
        name = "Author"
        model = Author
        fields = ("id", "name")


class GenreType(DjangoObjectType):
    """A kind of book."""

    books = Edge("books.schema.BookType", loader="books.BooksByGenre", many=True, first=20)

    class Meta:
        name = "Genre"
        model = Genre
        fields = ("id", "name")


class ReviewType(DjangoObjectType):
    """A reader's opinion."""

    class Meta:
        name = "Review"
        model = Review
        fields = ("id", "rating", "text")


class BookType(DjangoObjectType):
    """A book of one author."""

    author = Edge(AuthorType, loader="books.AuthorById", key="author_id", required=True)
    genres = Edge(GenreType, loader="books.GenresByBook", many=True, size=5)
    reviews = Edge(ReviewType, loader="books.ReviewsByBook", many=True, first=20)

    class Meta:
        name = "Book"
        model = Book
        fields = ("id", "title")


class BookConnection(RowConnection):
    """Books, page by page."""

    class Meta:
        node = BookType


class BookQuery(graphene.ObjectType):
    """Queries for books."""

    books = RootEdge(
        BookType,
        loaders=("books.AllBooks",),
        route=lambda _context, arguments: Route("books.AllBooks", WHOLE, page_of(arguments)),
        many=True,
        first=20,
    )
    books_connection = ConnectionField(BookConnection, loader="books.BookConnections", key=None)
    book = RootEdge(
        BookType,
        loaders=("books.BookById",),
        route=lambda _context, arguments: Route("books.BookById", parse_id(arguments["id"])),
        id=graphene.ID(required=True),
    )
