"""The admin of users and their API tokens.

Staff see users and edit their profiles, as the policy says. Every other change of an account needs
Django's permissions. Only superusers give powers: staff, superuser, groups, permissions, and the
password or a token of a superuser.
"""

from typing import Any

from axes.admin import AccessAttemptAdmin as AxesAttemptAdmin
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from pcf.admin.conflicts import StoredForm
from pcf.admin.forms import ExactUsernameField
from pcf.admin.model_admin import ModelAdmin
from pcf.viewer import Viewer
from users import policy
from users.logins import LogInForm
from users.models import ApiToken, Session, User

admin.site.login_form = LogInForm

POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")
PROFILE = ("name", "email")


def viewer_of(request: HttpRequest) -> Viewer:
    """Return the viewer of a request to the admin, which the policies need."""
    user = request.user
    return Viewer(user.pk, bool(user.is_active and user.is_staff))


def is_superuser(request: HttpRequest) -> bool:
    """Return whether an active superuser sent the request."""
    return bool(request.user.is_active and request.user.is_superuser)


class TokenInline(admin.TabularInline):  # type: ignore[type-arg]
    """A user's tokens, read only. Each one links to its own page."""

    model = ApiToken
    fields = readonly_fields = (
        "name",
        "scope",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    extra = 0
    can_delete = False
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Return the tokens of their own, without those of sessions."""
        tokens: QuerySet[ApiToken] = super().get_queryset(request).filter(session=None)
        return tokens

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False


class UserChangeList(ChangeList):
    """A page of users with their numbers of notes, counted for the rows of the page only."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        # Count("*") counts rows, so that PostgreSQL can answer from an index alone
        counts = (
            apps.get_model("notes", "Note")
            .objects.filter(author=OuterRef("pk"))
            .order_by()
            .values("author")
            .annotate(count=Count("*"))
            .values("count")
        )
        users = super().get_queryset(*args, **kwargs)
        return users.annotate(note_count=Coalesce(Subquery(counts), 0))


class UserForm(StoredForm, UserChangeForm):  # type: ignore[type-arg]
    """Django's form of a user, which keeps texts and finds conflicts."""

    class Meta(UserChangeForm.Meta):
        """Django's fields."""

        model = User
        field_classes = {"username": ExactUsernameField}


@admin.register(User)
class UserAdmin(ModelAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    form = UserForm
    list_display = (
        "id", "username", "name", "email", "is_staff", "is_active", "notes_link", "created_at"
    )  # fmt: skip
    list_display_links = ("id", "username")
    list_filter = ("is_staff", "is_superuser", "is_active", "created_at")
    search_fields = ("username", "name", "email")
    ordering = ("id",)
    sortable_by = ("id", "username")  # columns with an index
    readonly_fields = ("created_at", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Profile", {"fields": (*PROFILE, "first_name", "last_name")}),
        ("Permissions", {"fields": ("is_active", *POWERS)}),
        ("Dates", {"fields": ("created_at", "date_joined", "last_login")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("username", *PROFILE, "usable_password", "password1", "password2"),
            },
        ),
    )
    inlines = (TokenInline,)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        del request, kwargs
        return UserChangeList

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        # the model's clean() writes a user name in NFKC, also one that nobody has edited
        if change and "username" in form.fields and "username" not in form.changed_data:
            obj.username = form.initial["username"]
        super().save_model(request, obj, form, change)

    @staticmethod
    def label_of(user: User) -> str:
        """Return a text that no two users share: names repeat."""
        known = [text for text in (user.username, user.email) if text]
        return f"{user} ({', '.join(known)}, id {user.pk})"

    def may_delete_rows(self, request: HttpRequest, rows: QuerySet[Any]) -> bool:
        if not is_superuser(request) and rows.filter(is_superuser=True).exists():
            return False
        return self.has_delete_permission(request)

    def begin_deletion(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        """Deactivate the users, so that they write nothing while their rows are deleted."""
        del request
        rows.filter(is_active=True).update(is_active=False)

    @admin.display(description="notes")
    def notes_link(self, user: Any) -> str:
        """Return the number of a user's notes, as a link to them."""
        url = reverse("admin:notes_note_changelist", query={"author": user.pk})
        return format_html('<a href="{}">{}</a>', url, user.note_count)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_inlines(request, obj) if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if is_superuser(request):
            return fields
        if self._may_manage(request, obj):
            return (*fields, *POWERS)
        others = ("username", "password", "first_name", "last_name", "is_active", *POWERS)
        return (*fields, *others)

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # the pages show e-mail addresses
        return policy.may_see_email(viewer_of(request), obj.pk if obj else 0)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return policy.may_edit_profile(viewer_of(request), obj.pk if obj else 0)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not is_superuser(request):
            return False
        return super().has_delete_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 (Django's name)
        form_url: str = "",
    ) -> HttpResponse:
        user = self.get_object(request, id)
        if user is not None and not self._may_manage(request, user):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    def _may_manage(self, request: HttpRequest, user: User | None) -> bool:
        """Return whether the request may change more than the profile of ``user``."""
        if is_superuser(request):
            return True
        return request.user.has_perm("users.change_user") and not (user and user.is_superuser)


class TokenForm(StoredForm):
    """The form of a new token. Only superusers may create one for a superuser."""

    for_superusers = False

    class Meta:
        """The fields of the form."""

        model = ApiToken
        fields = ("user", "name", "scope", "expires_at")

    def clean_user(self) -> User:
        user: User = self.cleaned_data["user"]
        if user.is_superuser and not self.for_superusers:
            raise forms.ValidationError("Only superusers create tokens for superusers.")
        return user


class ActiveFilter(admin.SimpleListFilter):
    """A filter by state: valid, expired or revoked tokens."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        return [("valid", "valid"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        del request
        now = timezone.now()
        match self.value():
            case "valid":
                return queryset.filter(revoked_at=None).exclude(expires_at__lte=now)
            case "expired":
                return queryset.filter(revoked_at=None, expires_at__lte=now)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """The admin issues, renames, limits and revokes tokens. It shows a token's text once."""

    form = TokenForm
    list_display = (
        "name",
        "user",
        "scope",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = (ActiveFilter, "scope", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username", "user__name", "user__email")
    autocomplete_fields = ("user",)
    ordering = ("-id",)
    actions = ("revoke", *ModelAdmin.actions)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Return the tokens of their own. Those of sessions come and go every 15 minutes."""
        tokens: QuerySet[ApiToken] = super().get_queryset(request).filter(session=None)
        return tokens

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        del request
        fields = ("user", "name", "scope", "expires_at")
        times = ("created_at", "last_used_at", "revoked_at", "replaced_by")
        return (*fields, *times) if obj else fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        del request
        fixed = ("user", "scope", "created_at", "last_used_at", "revoked_at", "replaced_by")
        return fixed if obj else ()

    def get_form(
        self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.for_superusers = is_superuser(request)
        return form

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not change:
            obj.renew()
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return the page with the token's text, as the answer to the POST.

        A redirect would need a session or a cookie that holds the text. Like every page of the
        admin, the answer has Cache-Control: no-store.
        """
        del post_url_continue
        context = {
            **self.admin_site.each_context(request),
            "title": "API token created",
            "opts": self.opts,
            "token": obj,
        }
        return TemplateResponse(request, "admin/users/apitoken/issued.html", context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # the next page has to show the text of the new token
        if kwargs.get("add"):
            context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Revoke selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke the selected tokens. A token that is already revoked keeps its time."""
        tokens = list(queryset.filter(revoked_at=None))
        queryset.filter(pk__in=[token.pk for token in tokens]).update(revoked_at=timezone.now())
        for token in tokens:
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"Revoked {len(tokens)} token(s).", messages.SUCCESS)


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The sessions of users, which superusers and staff with the permission end."""

    list_display = ("user", "device", "scope", "created_at", "last_used_at", "expires_at")
    list_filter = ("scope", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "user__name", "device")
    fields = readonly_fields = list_display
    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        del request, obj
        return False


class AccessAttemptAdmin(AxesAttemptAdmin):
    """The failed log-ins that axes counts. Its own action raises an error in the admin."""

    actions = ("cleanup_expired_attempts",)

    @admin.action(description="Clean up expired attempts", permissions=["delete"])
    def cleanup_expired_attempts(
        self, request: HttpRequest, queryset: "QuerySet[AccessAttempt]"
    ) -> None:
        """Delete all attempts that are too old to count, selected or not."""
        del queryset
        count, cool_off = 0, get_cool_off()
        if cool_off is not None:
            expired = AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - cool_off)
            count, _ = expired.delete()
        self.message_user(request, f"Cleaned up {count} expired attempt(s).", messages.SUCCESS)


admin.site.unregister(AccessAttempt)
admin.site.register(AccessAttempt, AccessAttemptAdmin)
