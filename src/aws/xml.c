#include "aws/xml.h"

#include "base/buf.h"

#include <expat.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

struct reader {
    XML_Parser parser;
    xml_element_fn fn;
    void *ctx;
    struct buf path; /* "a/b/c" */
    struct buf text; /* of the innermost element; an inner one takes it away from those around it */
    int depth;
    int stopped; /* what fn returned */
    const char *why;
};

static void give_up(struct reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *r = ctx;
    (void)attributes;
    if (++r->depth > XML_DEPTH_MAX || strlen(name) > 64) {
        give_up(r, "too deep");
        return;
    }
    if (r->path.len)
        buf_putc(&r->path, '/');
    buf_puts(&r->path, name);
    buf_clear(&r->text);
}

static void on_end(void *ctx, const XML_Char *name)
{
    struct reader *r = ctx;
    if (r->why || r->stopped)
        return;
    r->stopped = r->fn(r->ctx, buf_str(&r->path), buf_str(&r->text));
    if (r->stopped)
        XML_StopParser(r->parser, XML_FALSE);
    size_t n = strlen(name);
    r->path.len -= n + (r->path.len > n);
    buf_clear(&r->text);
    r->depth--;
}

static void on_text(void *ctx, const XML_Char *text, int n)
{
    struct reader *r = ctx;
    if (r->text.len + (size_t)n > XML_TEXT_MAX)
        give_up(r, "a text is too long");
    else
        buf_append(&r->text, text, (size_t)n);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public,
                       int has)
{
    (void)name, (void)system, (void)public, (void)has;
    give_up(ctx, "it has a document type");
}

int xml_read(const void *bytes, size_t n, xml_element_fn fn, void *ctx, struct err *err)
{
    struct reader r = {.fn = fn, .ctx = ctx, .path = BUF_INIT, .text = BUF_INIT};
    if (n > INT_MAX)
        return err_set(err, ERR_CORRUPT, "an XML document of %zu bytes", n);
    r.parser = XML_ParserCreate(NULL);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    int rc = OK;
    if (XML_Parse(r.parser, bytes, (int)n, XML_TRUE) != XML_STATUS_OK)
        rc = r.stopped ? r.stopped
                       : err_set(err, ERR_CORRUPT, "XML, line %lu: %s",
                                 (unsigned long)XML_GetCurrentLineNumber(r.parser),
                                 r.why ? r.why : XML_ErrorString(XML_GetErrorCode(r.parser)));
    else if (r.stopped)
        rc = r.stopped;
    XML_ParserFree(r.parser);
    buf_release(&r.path);
    buf_release(&r.text);
    return rc;
}
