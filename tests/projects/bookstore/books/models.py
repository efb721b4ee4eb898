"""Authors, books, their genres and reviews."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from pcf.database.fields import folded


class Author(models.Model):
    """A person who writes books."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Genre(models.Model):
    """A kind of book."""

    name = models.CharField(max_length=50, unique=True)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    """A book of one author, in any number of genres."""

    title = models.CharField(max_length=200)
    title_folded = folded("title")
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    genres = models.ManyToManyField(Genre, through="BookGenre", related_name="books")
    is_published = models.BooleanField(default=True)

    class Meta:
        indexes = [models.Index(fields=("title_folded", "id"), name="book_title")]

    def __str__(self) -> str:
        return self.title


class BookGenre(models.Model):
    """A book is of a genre."""

    book = models.ForeignKey(Book, on_delete=models.CASCADE)
    genre = models.ForeignKey(Genre, on_delete=models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("book", "genre"), name="book_genre")]

    def __str__(self) -> str:
        return f"{self.book_id} - {self.genre_id}"


class Review(models.Model):
    """A reader's opinion of a book; only its reader and staff see it before it is approved."""

    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="reviews")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    rating = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    text = models.TextField(blank=True, max_length=5_000)
    is_approved = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.rating} of 5 for {self.book_id}"
