"""Build the index of addresses, while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("users", "0006_sessions")]

    operations = [
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(Upper("email"), name="users_user_email_upper"),
        ),
    ]
