"""Models with the keys and the fields that other projects have.

``OWNERS`` holds a model for each type of key, with an item that points to its key.
"""

import json
import uuid
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, DecimalRangeField
from django.db import models
from django.db.models.functions import Lower, Upper
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init


class Member(AbstractBaseUser):
    """A user whose key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100, unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    objects = BaseUserManager()
    USERNAME_FIELD = "name"


# --- keys


def _key_fields() -> "dict[str, models.Field[Any, Any]]":
    return {
        "Flag": models.BooleanField(unique=True),
        "Small": models.SmallIntegerField(unique=True),
        "Number": models.IntegerField(unique=True),
        "Large": models.BigIntegerField(unique=True),
        "Char": models.CharField(max_length=5, unique=True),
        "Words": models.TextField(unique=True),
        "Bytes": models.TextField(unique=True, db_collation="C"),
        "Mail": models.EmailField(unique=True),
        "Uuid": models.UUIDField(unique=True),
        "Day": models.DateField(unique=True),
        "Moment": models.DateTimeField(unique=True),
        "Price": models.DecimalField(max_digits=12, decimal_places=4, unique=True),
        "Lowered": models.GeneratedField(
            expression=Lower("source"), output_field=models.TextField(), db_persist=True,
            unique=True,
        ),
    }  # fmt: skip


def _members(**fields: Any) -> dict[str, Any]:
    return {"__module__": __name__, **fields}


def _owner(name: str, key: "models.Field[Any, Any]") -> type[models.Model]:
    label, source = models.TextField(default=""), models.TextField(default="")
    members = _members(source=source, key=key, label=label)
    return type(f"{name}Owner", (models.Model,), members)


def _item(name: str, owner: type[models.Model]) -> type[models.Model]:
    link = models.ForeignKey(owner, models.CASCADE, to_field="key", null=True)
    return type(
        f"{name}Item", (models.Model,), _members(owner=link, label=models.TextField(default=""))
    )


OWNERS = {name: _owner(name, key) for name, key in _key_fields().items()}
ITEMS = {name: _item(name, owner) for name, owner in OWNERS.items()}


class Loose(models.Model):
    """Keys that PostgreSQL and Python may spell or compare in different ways."""

    ratio = models.FloatField(null=True)
    span = models.DurationField(null=True)
    words = ArrayField(models.TextField(), null=True)
    facts = models.JSONField(null=True)
    data = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    label = models.TextField(default="")


# --- primary keys


class Stone(models.Model):
    """A row whose primary key is a UUID, in a set."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    set_id = models.UUIDField()
    label = models.TextField(default="")


class Label(models.Model):
    """Something that stones have many of, found by a text."""

    code = models.CharField(max_length=20, unique=True)
    stones = models.ManyToManyField(Stone, related_name="labels")


class Word(models.Model):
    """A row whose primary key is a text."""

    id = models.CharField(primary_key=True, max_length=200)
    label = models.TextField(default="")


class Short(models.Model):
    """A row whose primary key is an integer of 16 bits."""

    id = models.SmallAutoField(primary_key=True)
    label = models.TextField(default="")


class Remark(models.Model):
    """A remark on a row of any model: the key of the row is a text."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=40)
    subject = GenericForeignKey()
    text = models.TextField()


# --- values


class Money:
    """An amount in a currency."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount, self.currency = amount, currency

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Converting(DeferredAttribute):
    """A descriptor that takes part in reading an attribute."""

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class MoneyAttribute(Converting):
    """Makes one value of two columns."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        return Money(super().__get__(instance, cls), instance.currency)


class MoneyField(models.DecimalField):
    """A column whose attribute is Money, as in django-money."""

    descriptor_class = MoneyAttribute

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(getattr(value, "amount", value))


class PhoneAttribute(Converting):
    """Formats a number."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        return f"+{super().__get__(instance, cls)}"


class PhoneField(models.CharField):
    """A column whose attribute is formatted, as in django-phonenumber-field."""

    descriptor_class = PhoneAttribute

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value).removeprefix("+")


class SecretField(models.TextField):
    """A column that holds its value backwards, as encrypted fields do."""

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return None if value is None else value[::-1]

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else value[::-1]


class FactsDecoder(json.JSONDecoder):
    """Reads names in capitals."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, object_hook=lambda read: {k.upper(): read[k] for k in read})


class Colour(models.TextChoices):
    """Colours."""

    RED = "r"
    BLUE = "b"


class Everything(models.Model):
    """A column of each type."""

    binary = models.BinaryField(null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=20, null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    decimal = models.DecimalField(max_digits=20, decimal_places=5, null=True)
    duration = models.DurationField(null=True)
    ratio = models.FloatField(null=True)
    address = models.GenericIPAddressField(null=True)
    number = models.IntegerField(null=True)
    facts = models.JSONField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    uuid = models.UUIDField(null=True)
    numbers = ArrayField(models.DecimalField(max_digits=9, decimal_places=2), null=True)
    secrets = ArrayField(SecretField(), null=True)
    numbers_range = DecimalRangeField(null=True)
    moments_range = DateTimeRangeField(null=True)
    doubled = models.GeneratedField(
        expression=models.F("number") * 2, output_field=models.BigIntegerField(), db_persist=True
    )
    owner = models.ForeignKey("MomentOwner", models.CASCADE, to_field="key", null=True)


class Curio(models.Model):
    """A row whose columns are not what its attributes are."""

    price = MoneyField(max_digits=9, decimal_places=2, default=Decimal(1))
    currency = models.CharField(max_length=3, default="EUR")
    phone = PhoneField(max_length=20, default="49")
    secret = SecretField(default="")
    picture = models.FileField(null=True)
    facts = models.JSONField(default=dict, decoder=FactsDecoder)
    colour = models.CharField(max_length=1, choices=Colour.choices, default=Colour.RED)
    made_at = models.DateTimeField(null=True)
    hidden = models.TextField(default="", db_column="Odd Name")
    amount = models.DecimalField(max_digits=9, decimal_places=2, default=Decimal("1.50"))

    @property
    def title(self) -> str:
        """A value without a column."""
        return f"title of {self.pk}"


class Shadowed(models.Model):
    """A property stands where the attribute of the column would be."""

    label = models.TextField(default="")


def _set_label(instance: Any, value: str) -> None:
    instance.__dict__["label"] = value


Shadowed.label = property(lambda instance: f"the {instance.__dict__['label']}", _set_label)


class FromDb(models.Model):
    """Changes its values when it is made of a row."""

    label = models.TextField(default="")

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any) -> Any:
        made = super().from_db(db, field_names, values)
        made.label = made.label.upper()
        return made


class Initialised(models.Model):
    """Changes its values when it is made."""

    label = models.TextField(default="")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label = self.label.upper()


class Signalled(models.Model):
    """A receiver changes its values."""

    label = models.TextField(default="")


def _shout(instance: Any, **_: Any) -> None:
    instance.label = instance.label.upper()


post_init.connect(_shout, sender=Signalled, dispatch_uid="odd")


class Place(models.Model):
    """The parent of a multi-table inheritance."""

    name = models.TextField(default="")


class Inn(Place):
    """The child of a multi-table inheritance: its key is a foreign key."""

    beds = models.IntegerField(default=1)


class LoudPlace(Place):
    """A proxy with a property."""

    class Meta:
        proxy = True

    @property
    def shout(self) -> str:
        return self.name.upper()


class Shelf(models.Model):
    """Shelves with volumes in an order of their own."""

    name = models.TextField(default="")

    class Meta:
        ordering = ("-name",)


class Car(models.Model):
    """Columns with the names of attributes that rows of the engine could have."""

    model = models.TextField(default="model")
    readers = models.TextField(default="readers")
    count = models.TextField(default="count")
    index = models.TextField(default="index")
    columns = models.TextField(default="columns")
    keys = models.TextField(default="keys")
    viewer = models.TextField(default="viewer")
    key = models.TextField(default="key")
    position = models.TextField(default="position")


class Leaf(models.Model):
    """A row whose order is that of rows of another model."""

    shelf = models.ForeignKey(Shelf, models.CASCADE)
    set_id = models.IntegerField(default=0)

    class Meta:
        ordering = ("shelf",)


class Visible(models.Manager["Volume"]):
    """A manager that hides rows."""

    def get_queryset(self) -> models.QuerySet["Volume"]:
        return super().get_queryset().filter(is_hidden=False)


class Volume(models.Model):
    """A volume on a shelf."""

    shelf = models.ForeignKey(Shelf, models.CASCADE)
    title = models.TextField()
    rank = models.IntegerField(default=0)
    is_hidden = models.BooleanField(default=False)
    objects = Visible()

    class Meta:
        ordering = ("-rank", Upper("title"))
