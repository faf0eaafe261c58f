"""An app that cannot be imported: it needs what is not there."""

import a_module_that_nobody_has_written  # noqa: F401
