"""What writes to tags touch.

A write to a tag touches the tag, its name before and after, and, when the tag comes or goes, the
list of tags. That list also depends on each tag that it shows. So do the tags of a note
(``notes.TagsByNote``): a new name of a tag removes every response that shows the tag.
"""

from pcf.cache.triggers import Touch, declare, list_touches
from tags.models import Tag

declare(
    Tag,
    Touch(kind="tag", key="id", ignoring=("name_folded",)),
    Touch(kind="tag-name", key="name", ignoring=("name_folded",)),
    Touch(kind="tags", only=("id",)),
    *list_touches("tags", "name_folded"),
)
