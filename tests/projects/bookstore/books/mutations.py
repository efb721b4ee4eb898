"""Mutations of books."""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from books.models import Book, Review
from books.policy import visible_books
from books.schema import ReviewType
from pcf.execution.mutations import (
    clean,
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer


class AddReviewInput(graphene.InputObjectType):
    """A review of the viewer."""

    book_id = graphene.ID(required=True, description="The id of the book.")
    rating = graphene.Int(required=True, description="1 to 5 stars.")
    text = graphene.String(default_value="", description="What the reader thinks.")


class ReviewPayload(graphene.ObjectType):
    """The review, null when it was refused."""

    review = graphene.Field(ReviewType, description="The new review, null when it was refused.")
    user_errors = payload_errors()


@mutation(ReviewPayload)
def add_review(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Write a review of a book that the viewer may see."""
    del info
    require_login(viewer)
    book = Book.objects.filter(visible_books(viewer), pk=parse_id(values.book_id) or 0).first()
    if book is None:
        raise refusal("NOT_FOUND", "There is no such book.", "bookId")
    review = Review(book=book, reader_id=viewer.id, rating=values.rating, text=values.text or "")
    clean(review, {"rating": "rating", "text": "text"})
    review.save()
    return {"review": review}


class BookMutation(graphene.ObjectType):
    """Mutations of books."""

    add_review = mutation_field(ReviewPayload, AddReviewInput, add_review)
