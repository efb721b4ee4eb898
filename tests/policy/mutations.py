"""The permissions of every mutation, as the matrix test expects them.

``table`` holds those of the fields, and says what is declared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ABSENT = 999_999_999


@dataclass(frozen=True)
class Mutation:
    """A mutation: its input for the id of a note, and the field of its payload.

    A mutation ``of_note`` needs permission to write the note, outside of the trash or in it
    (``in_trash``). One ``of_tag`` gets the id of a tag, and needs the rights of staff. Any other
    needs a login, and changes the viewer's own data.
    """

    input: Callable[[str], dict[str, Any]]
    result: str
    of_note: bool = True
    in_trash: bool = False
    of_tag: bool = False


MUTATIONS = {
    "Mutation.createNote": Mutation(
        lambda _: {
            "title": "new", "content": "text", "isPublic": True, "tagIds": [], "tagNames": ["new"],
        },
        "note",
        of_note=False,
    ),
    "Mutation.updateProfile": Mutation(
        lambda _: {"name": "New Name", "email": "new@example.org"}, "user", of_note=False
    ),
    "Mutation.updateNote": Mutation(
        lambda key: {
            "id": key, "title": "new", "content": "text", "isPublic": False, "tagIds": [],
            "tagNames": ["new"], "expectedVersion": None,
        },
        "note",
    ),
    "Mutation.deleteNote": Mutation(
        lambda key: {"id": key, "expectedVersion": None}, "deletedId"
    ),
    "Mutation.deleteNotes": Mutation(lambda key: {"ids": [key]}, "deletedIds"),
    "Mutation.tagNotes": Mutation(
        lambda key: {"ids": [key], "tagIds": [], "tagNames": ["new"]}, "notes"
    ),
    "Mutation.createTag": Mutation(lambda _: {"name": "new"}, "tag", of_note=False),
    "Mutation.renameTag": Mutation(
        lambda key: {"id": key, "name": "new"}, "tag", of_note=False, of_tag=True
    ),
    "Mutation.mergeTags": Mutation(
        lambda key: {"ids": [key], "intoId": key}, "tag", of_note=False, of_tag=True
    ),
    "Mutation.deleteTag": Mutation(
        lambda key: {"id": key}, "deletedId", of_note=False, of_tag=True
    ),
    "Mutation.restoreNote": Mutation(lambda key: {"id": key}, "note", in_trash=True),
    "Mutation.purgeNote": Mutation(lambda key: {"id": key}, "purgedId", in_trash=True),
    "Mutation.tagNote": Mutation(
        lambda key: {
            "noteId": key, "tagIds": [], "tagNames": ["new"], "expectedVersion": None,
        },
        "note",
    ),
    "Mutation.untagNote": Mutation(
        lambda key: {
            "noteId": key, "tagIds": [], "tagNames": ["new"], "expectedVersion": None,
        },
        "note",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AccountMutation:
    """A mutation of accounts or sessions, with an input that it refuses.

    ``input`` is None for a mutation without arguments. ``refusal`` is the code of the refusal, None
    for a mutation that does its work. A mutation that ``needs_login`` refuses anonymous viewers.
    One that ``depends_on_session`` answers the token of a session by ``refusal_in_session``.
    """

    input: dict[str, Any] | None
    refusal: str | None
    needs_login: bool = False
    depends_on_session: bool = False
    refusal_in_session: str | None = None


_TEXT = "a text that is no token"

ACCOUNT_MUTATIONS = {
    "Mutation.signUp": AccountMutation(
        {"username": "ann", "email": "x@example.org", "password": "correct horse", "name": "X",
         "invitation": None},
        "TAKEN",
    ),
    "Mutation.confirmEmail": AccountMutation({"token": _TEXT}, "INVALID"),
    "Mutation.requestEmailConfirmation": AccountMutation(None, None, needs_login=True),
    "Mutation.requestPasswordReset": AccountMutation({"username": "ann"}, None),
    "Mutation.resetPassword": AccountMutation(
        {"token": _TEXT, "password": "correct horse"}, "INVALID"
    ),
    "Mutation.changePassword": AccountMutation(
        {"currentPassword": "wrong", "newPassword": "correct horse"}, "WRONG_CREDENTIALS",
        needs_login=True,
    ),
    "Mutation.logIn": AccountMutation(
        {"username": "ann", "password": "wrong", "device": "", "scope": "ADMIN", "cookie": False},
        "WRONG_CREDENTIALS",
    ),
    "Mutation.refreshAccess": AccountMutation({"refreshToken": _TEXT}, "WRONG_CREDENTIALS"),
    "Mutation.logOut": AccountMutation(
        None, "FORBIDDEN", needs_login=True, depends_on_session=True
    ),
    "Mutation.logOutEverywhere": AccountMutation(None, None, needs_login=True),
    "Mutation.createToken": AccountMutation(
        {"name": "", "scope": "READ", "expiresInDays": 0}, "FORBIDDEN", needs_login=True,
        depends_on_session=True, refusal_in_session="INVALID",
    ),
    "Mutation.revokeToken": AccountMutation({"id": str(ABSENT)}, "NOT_FOUND", needs_login=True),
    "Mutation.deleteAccount": AccountMutation(
        {"password": "wrong"}, "WRONG_CREDENTIALS", needs_login=True
    ),
    "Mutation.deactivateAccount": AccountMutation(
        {"password": "wrong"}, "WRONG_CREDENTIALS", needs_login=True
    ),
    "Mutation.endSession": AccountMutation(
        {"id": str(ABSENT)}, "NOT_FOUND", needs_login=True
    ),
}  # fmt: skip

# Only the viewer that ran the mutation gets these fields, about the row that it named.
PAYLOADS = {
    "NotePayload.note",
    "NotePayload.userErrors",
    "DeleteNotePayload.deletedId",
    "DeleteNotePayload.note",
    "DeleteNotePayload.userErrors",
    "DeleteNotesPayload.deletedIds",
    "DeleteNotesPayload.userErrors",
    "TagNotesPayload.notes",
    "TagNotesPayload.userErrors",
    "TagPayload.tag",
    "TagPayload.userErrors",
    "DeleteTagPayload.deletedId",
    "DeleteTagPayload.userErrors",
    "PurgeNotePayload.purgedId",
    "PurgeNotePayload.userErrors",
    "UpdateProfilePayload.user",
    "UpdateProfilePayload.userErrors",
    "UserPayload.user",
    "UserPayload.userErrors",
    "RequestPasswordResetPayload.userErrors",
    "RequestEmailConfirmationPayload.userErrors",
    *(f"SessionPayload.{name}"
      for name in ("accessToken", "refreshToken", "expiresAt", "user", "userErrors")),
    "LogOutPayload.userErrors",
    "LogOutEverywherePayload.count",
    "LogOutEverywherePayload.userErrors",
    *(f"CreateTokenPayload.{name}" for name in ("token", "text", "userErrors")),
    "RevokeTokenPayload.revokedId",
    "RevokeTokenPayload.userErrors",
    "DeleteAccountPayload.deletedId",
    "DeleteAccountPayload.userErrors",
    "DeactivateAccountPayload.deactivatedId",
    "DeactivateAccountPayload.userErrors",
    "EndSessionPayload.endedId",
    "EndSessionPayload.userErrors",
    "UserError.field",
    "UserError.code",
    "UserError.message",
}  # fmt: skip

# The fields that a mutation may set. No mutation sets an author, a time or the staff flag.
MUTATION_INPUTS = {
    "CreateNoteInput": {"title", "content", "isPublic", "tagIds", "tagNames"},
    "UpdateNoteInput": {
        "id",
        "title",
        "content",
        "isPublic",
        "tagIds",
        "tagNames",
        "expectedVersion",
    },
    "DeleteNoteInput": {"id", "expectedVersion"},
    "RestoreNoteInput": {"id"},
    "PurgeNoteInput": {"id"},
    "NoteTagsInput": {"noteId", "tagIds", "tagNames", "expectedVersion"},
    "DeleteNotesInput": {"ids"},
    "TagNotesInput": {"ids", "tagIds", "tagNames"},
    "CreateTagInput": {"name"},
    "RenameTagInput": {"id", "name"},
    "MergeTagsInput": {"ids", "intoId"},
    "DeleteTagInput": {"id"},
    "UpdateProfileInput": {"name", "email"},
    "SignUpInput": {"username", "email", "password", "name", "invitation"},
    "TokenInput": {"token"},
    "RequestPasswordResetInput": {"username"},
    "ResetPasswordInput": {"token", "password"},
    "ChangePasswordInput": {"currentPassword", "newPassword"},
    "LogInInput": {"username", "password", "device", "scope", "cookie"},
    "RefreshAccessInput": {"refreshToken"},
    "EndSessionInput": {"id"},
    "CreateTokenInput": {"name", "scope", "expiresInDays"},
    "RevokeTokenInput": {"id"},
    "PasswordInput": {"password"},
}
