"""What writes to books touch: the cache removes the responses that depend on these names."""

from django.contrib.auth.models import User

from books.models import Author, Book, BookGenre, Genre, Review
from pcf.cache.triggers import Touch, declare, list_touches

declare(Author, Touch(kind="author", key="id"), Touch(kind="authors", only=("id",)))
declare(Genre, Touch(kind="genre", key="id"), Touch(kind="genres", only=("id",)))
declare(
    Book,
    Touch(kind="book", key="id"),
    Touch(kind="books", only=("is_published",)),
    Touch(kind="books-by-author", key="author", only=("author", "is_published")),
    Touch(kind="books-by-genre", key="genre", through=BookGenre, only=("is_published",)),
    *list_touches("books", "title_folded"),
    *list_touches("books-by-author", "title_folded", key="author"),
)
declare(
    BookGenre,
    Touch(kind="genres-by-book", key="book"),
    Touch(kind="books-by-genre", key="genre"),
    holding=("book",),
)
declare(
    Review,
    Touch(kind="review", key="id"),
    Touch(kind="reviews-by-book", key="book", only=("book", "reader", "is_approved")),
)
# the credentials that the cache remembers for a user's tokens
declare(User, Touch(kind="account", key="id", only=("is_active", "is_staff")))
