"""The storage of static files in production: each name has a hash, in imports of modules, too."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Writes the hashed names into ``import`` and ``export ... from`` of JavaScript modules.

    Browsers keep a file with a hashed name for ever, and a new version has new names throughout. No
    two modules may import each other: a hash would depend on itself.
    """

    support_js_module_import_aggregation = True
