import datetime
from django.db import migrations, models


# Times that Python cannot read become the nearest ones that it can.
EARLIEST, LATEST = "0001-01-02 00:00+00", "9999-12-30 23:59:59+00"
COLUMNS = (
    ("users_user", "created_at"),
    ("users_user", "date_joined"),
    ("users_user", "last_login"),
    ("users_apitoken", "created_at"),
    ("users_apitoken", "last_used_at"),
    ("users_apitoken", "revoked_at"),
    ("users_apitoken", "expires_at"),
)
INTO_RANGE = [
    f"UPDATE {table} SET {column} = greatest(least({column}, '{LATEST}'), '{EARLIEST}')"
    f" WHERE {column} NOT BETWEEN '{EARLIEST}' AND '{LATEST}'"
    for table, column in COLUMNS
] + ["SET CONSTRAINTS ALL IMMEDIATE"]  # ALTER TABLE refuses a table with checks that wait
# A token that expires after all time does not expire.
WITHOUT_END = f"UPDATE users_apitoken SET expires_at = NULL WHERE expires_at > '{LATEST}'"


class Migration(migrations.Migration):

    dependencies = [
        ('users', '0002_token_scopes'),
    ]

    operations = [
        migrations.RunSQL([WITHOUT_END, *INTO_RANGE], migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('created_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('created_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_apitoken_created_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('last_used_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('last_used_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_apitoken_last_used_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('expires_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_apitoken_expires_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('revoked_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('revoked_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_apitoken_revoked_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('created_at__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('created_at__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_user_created_at_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('date_joined__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('date_joined__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_user_date_joined_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('last_login__gte', datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)), ('last_login__lt', datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc))), name='users_user_last_login_range', violation_error_message='This time is out of range: the years 1 to 9999 are stored.'),
        ),
    ]
