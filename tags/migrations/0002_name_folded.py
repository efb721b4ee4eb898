"""Add the folded name. The table is written anew."""

from django.db import migrations, models

from pcf.database.fields import Fold



class Migration(migrations.Migration):

    dependencies = [("pcf", "0002_folding"), ("tags", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="tag",
            name="name_folded",
            field=models.GeneratedField(
                db_persist=True, expression=Fold("name"), output_field=models.TextField(db_collation="C")
            ),
        ),
    ]
