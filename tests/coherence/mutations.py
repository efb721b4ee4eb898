"""Random writes through the API. The base class of all writes, with what they share."""

import random
from typing import Any

from notes.models import Note
from tags.models import Tag
from tests.coherence.client import Client, Viewer
from tests.coherence.world import World, content, next_version
from users.models import User


class Unavailable(Exception):
    """The service cannot write now."""


class Mutations:
    """Runs random mutations, one at a time."""

    def __init__(self, world: World, client: Client, rng: random.Random) -> None:
        self._world = world
        self._client = client
        self._rng = rng

    # --- notes

    def mutation_create(self) -> None:
        self._mutate(
            f'createNote(input: {{title: "g #{next_version()}", content: "public.", '
            "isPublic: true}) { note { id } }"
        )
        self._created(Note.objects.order_by("-pk")[0])

    def mutation_update(self) -> None:
        note = self._note()
        self._mutate(
            f'updateNote(input: {{id: "{note.pk}", title: "g #{next_version()}"}}) '
            "{ note { id title } }",
            note.author_id,
        )

    def mutation_delete(self) -> None:
        note = self._note()
        self._mutate(f'deleteNote(input: {{id: "{note.pk}"}}) {{ deletedId }}', note.author_id)

    def mutation_expected_version(self) -> None:
        """Change a note if it has a version: the right one, or one of before."""
        note = self._note()
        version = note.version - self._rng.randint(0, 1)
        self._mutate(
            f'updateNote(input: {{id: "{note.pk}", title: "v #{next_version()}", '
            f'tagNames: ["{self._name()}"], expectedVersion: {version}}}) '
            "{ note { id title version } userErrors { code } }",
            note.author_id,
        )

    def mutation_restore(self) -> None:
        note = self._trashed()
        self._mutate(
            f'restoreNote(input: {{id: "{note.pk}"}}) {{ note {{ id title version }} }}',
            note.author_id,
        )

    def mutation_purge(self) -> None:
        note = self._trashed()
        self._mutate(f'purgeNote(input: {{id: "{note.pk}"}}) {{ purgedId }}', note.author_id)

    def mutation_batch(self) -> None:
        """Delete or tag some notes of one author."""
        author = self._user()
        notes = Note.objects.filter(author_id=author, deleted_at=None).order_by("?")[:3]
        ids = ", ".join(f'"{note.pk}"' for note in notes)
        if self._rng.random() < 0.4:
            self._mutate(f"deleteNotes(input: {{ids: [{ids}]}}) {{ deletedIds }}", author)
        else:
            names = f'"{self._name()}", "{self._tags()[0].name}"'
            self._mutate(
                f"tagNotes(input: {{ids: [{ids}], tagNames: [{names}]}}) "
                "{ notes { id title version tags { name } } }",
                author,
            )

    def mutation_tag(self) -> None:
        note, tag = self._note(), self._tags()[0]
        field = self._rng.choice(["tagNote", "untagNote"])
        self._mutate(
            f'{field}(input: {{noteId: "{note.pk}", tagIds: ["{tag.pk}"]}}) {{ note {{ id }} }}',
            note.author_id,
        )

    def mutation_profile(self) -> None:
        self._mutate(f'updateProfile(input: {{name: "P {next_version()}"}}) {{ user {{ id }} }}')

    # --- tags

    def mutation_create_tag(self) -> None:
        self._mutate(f'createTag(input: {{name: " {self._name()} "}}) {{ tag {{ id }} }}')
        self._world.newest_tag = Tag.objects.order_by("-pk")[0].pk

    def mutation_rename_tag(self) -> None:
        """Give a tag another name, or the same in capitals."""
        tag = self._tags()[0]
        name = self._name() if self._rng.random() < 0.7 else tag.name.swapcase()
        self._world.names.append(name)
        self._mutate(
            f'renameTag(input: {{id: "{tag.pk}", name: "{name}"}}) {{ tag {{ id name }} }}',
            self._world.users[0],
        )

    def mutation_merge_tags(self) -> None:
        into, *others = Tag.objects.order_by("?")[: self._rng.randint(2, 3)]
        if Tag.objects.count() > 6:
            ids = ", ".join(f'"{tag.pk}"' for tag in others)
            self._mutate(
                f'mergeTags(input: {{ids: [{ids}], intoId: "{into.pk}"}}) '
                "{ tag { id name noteCount } }",
                self._world.users[0],
                has_key=False,
            )
        self.mutation_create_tag()

    def mutation_delete_tag(self) -> None:
        if Tag.objects.count() > 6:
            tag = self._tags()[0]
            self._mutate(
                f'deleteTag(input: {{id: "{tag.pk}"}}) {{ deletedId }}',
                self._world.users[0],
                has_key=False,
            )
        self.mutation_create_tag()

    # --- helpers

    def _note(self, *, lock: bool = False, alive: bool = False) -> Note:
        """Return a note, with ``alive`` one that is not in the trash."""
        chosen = Note.objects.filter(deleted_at=None) if alive else Note.objects.all()
        notes = chosen.select_for_update() if lock else chosen
        rng = self._rng
        note = notes.filter(pk=rng.randint(1, 12)).first() if rng.random() < 0.5 else None
        return note or notes.filter(pk=chosen.order_by("?").values("pk")[:1]).get()

    def _trashed(self) -> Note:
        """Return a note in the trash; one goes there where there is none."""
        trash = Note.objects.filter(deleted_at__isnull=False)
        if not trash.exists():
            self.mutation_delete()
        return trash.order_by("?").first() or self._note()

    def _new_note(self) -> Note:
        note = Note(title=f"n #{next_version()}", author_id=self._user())
        note.is_public = self._rng.random() < 0.5
        note.content = content(note.author_id, note.is_public)
        return note

    def _created(self, note: Note) -> None:
        if note.pk is None:
            note.save()
        self._world.newest_note = note.pk

    def _tags(self) -> list[Tag]:
        return list(Tag.objects.order_by("?")[: self._rng.randint(1, 3)])

    def _name(self) -> str:
        names = self._world.names
        used = {name.lower() for name in Tag.objects.values_list("name", flat=True)}
        unused = {name for name in names[-10:] if name.lower() not in used}
        if unused and self._rng.random() < 0.5:
            return min(unused)  # a name of another tag before, or of none
        names.append(f"tag{next_version()}")
        return names[-1]

    def _user(self) -> int:
        return self._rng.choice(self._world.users)

    def _passing_users(self) -> Any:
        return User.objects.exclude(pk__in=self._world.users).filter(is_staff=False)

    def _passing_user(self) -> User:
        if not self._passing_users().exists():
            self.create_user()
        user: User = self._passing_users().order_by("?")[0]
        return user

    def _mutate(self, text: str, user: int | None = None, *, has_key: bool = True) -> None:
        """Send a mutation. With a key, now and then, send it twice: the answers must be equal.

        ``has_key`` is false for a mutation in steps, which ignores keys.
        """
        viewers = [it for it in self._world.viewers if user in {None, it.user}]
        viewer: Viewer = self._rng.choice(viewers or self._world.viewers)
        key = f"key {next_version()}" if has_key and self._rng.random() < 0.4 else None
        answer = self._client.ask(f"mutation {{ {text} }}", viewer, key=key)
        if answer.status >= 500:
            raise Unavailable(answer)
        if key is not None and b"errors" not in answer.body:
            again = self._client.ask(f"mutation {{ {text} }}", viewer, key=key)
            if again.status >= 500:
                raise Unavailable(again)
            assert again.body == answer.body, (text, answer, again)
        # the token may be revoked, the user inactive, the note gone
        assert answer.status in {200, 401}, answer
