import datetime
from django.conf import settings
from django.db import migrations, models


# Times that Python cannot read become the nearest ones that it can.
EARLIEST, LATEST = "0001-01-02 00:00+00", "9999-12-30 23:59:59+00"
COLUMNS = (
    ("notes_note", "created_at"),
    ("notes_note", "updated_at"),
)
INTO_RANGE = [
    f"UPDATE {table} SET {column} = greatest(least({column}, '{LATEST}'), '{EARLIEST}')"
    f" WHERE {column} NOT BETWEEN '{EARLIEST}' AND '{LATEST}'"
    for table, column in COLUMNS
] + ["SET CONSTRAINTS ALL IMMEDIATE"]  # ALTER TABLE refuses a table with checks that wait


class Migration(migrations.Migration):

    dependencies = [
        ('notes', '0002_initial'),
        ('tags', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(INTO_RANGE, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='note',
            constraint=models.CheckConstraint(condition=models.Q(('created_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('created_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='notes_note_created_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='note',
            constraint=models.CheckConstraint(condition=models.Q(('updated_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('updated_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='notes_note_updated_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
    ]
