/* Media types by file name. */
#ifndef MC_HTTP_MIME_H
#define MC_HTTP_MIME_H

#include "core/base/str.h"

/* What follows the last dot of the last segment; none for "README" and ".profile". */
struct mc_str mc_mime_extension(struct mc_str path);
/* The type of an extension in any case, of static memory; p == NULL when it is not known. */
struct mc_str mc_mime_type(struct mc_str extension);
/* Are its bytes text, to which a charset may be said? */
bool mc_mime_is_text(struct mc_str type);

#endif
