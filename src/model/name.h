/* Series names: Graphite paths, optionally with tags.
 *
 *   servers.web-1.cpu.user            path: levels separated by dots
 *   disk.used;host=a;mount=/data      path, then ;tag=value pairs sorted by tag
 *
 * The canonical form is what is stored and compared. Rules (Graphite's, see
 * https://graphite.readthedocs.io/en/latest/tags.html, where it has any):
 *  - 1 to NAME_MAX_BYTES bytes in all; no control bytes, no spaces, no bytes over 0x7e
 *    except well-formed UTF-8
 *  - leading, trailing and doubled dots are refused, not repaired: two spellings
 *    of one series would otherwise hide from each other
 *  - a tag's name is not empty and has none of ; ! ^ =, its value is not empty, has no ; and does not start
 * with ~
 *  - tags are sorted by name; of one name given twice the last one counts
 */
#ifndef CARAT_MODEL_NAME_H
#define CARAT_MODEL_NAME_H

#include "base/arena.h"
#include "model/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_BYTES 1024

/* Checks `name` and brings it into canonical form. *out points into `name` itself
 * when nothing had to change, else into `arena`. 0, or -1 with *why set. */
int name_canonical(const char *name, size_t len, struct arena *arena, const char **out, size_t *out_len,
                   enum reject *why);

/* Length of the path before the first ';'. */
size_t name_path_len(const char *name, size_t len);
static inline bool name_has_tags(const char *name, size_t len)
{
    return name_path_len(name, len) != len;
}

#endif
