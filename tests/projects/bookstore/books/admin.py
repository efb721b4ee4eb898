"""The admin of books; the database's triggers see what staff change."""

from django.contrib import admin

from books.models import Author, Book, BookGenre, Genre, Review


class GenreInline(admin.TabularInline):
    model = BookGenre
    extra = 1


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author", "is_published")
    list_select_related = ("author",)
    inlines = [GenreInline]


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ("book", "reader", "rating", "is_approved")
    list_select_related = ("book", "reader")
    list_filter = ("is_approved",)


admin.site.register([Author, Genre])
