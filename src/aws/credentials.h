/* Where the keys come from, in this order:
 *
 *   1. the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   2. a file of AWS's own form: the option, else AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials;
 *      the section is the option, else AWS_PROFILE, else "default"
 *
 * The file is read again when it has changed, so keys can be rotated under a running server. Nothing here
 * ever puts a secret into a log or an error. */
#ifndef CARAT_AWS_CREDENTIALS_H
#define CARAT_AWS_CREDENTIALS_H

#include "aws/sigv4.h"
#include "base/clock.h"
#include "base/err.h"

struct aws_credentials;

struct aws_credentials_options {
    const char *file;                     /* NULL or empty: not given */
    const char *profile;                  /* the same */
    const char *(*env)(const char *name); /* NULL: getenv */
    struct clock *clock;
};

/* Reads nothing yet. Copies what it needs. */
struct aws_credentials *aws_credentials_new(const struct aws_credentials_options *o);
void aws_credentials_free(struct aws_credentials *c);

/* A copy of the keys in force. */
struct aws_key_copy {
    char id[160], secret[256], token[8192]; /* token: empty if there is none */
};
static inline struct aws_keys aws_key_copy_view(const struct aws_key_copy *k)
{
    return (struct aws_keys){k->id, k->secret, k->token[0] ? k->token : NULL};
}
/* ERR_NOT_FOUND: there are none; the text says where was looked. ERR_INVALID: the file is not of the form.
 * Any thread. */
int aws_credentials_get(struct aws_credentials *c, struct aws_key_copy *out, struct err *err) must_check;
/* A server said that they are no longer good: the next get reads everything again. */
void aws_credentials_refused(struct aws_credentials *c);

/* Pure: the keys of a section of a credentials file. As aws_credentials_get. */
int aws_credentials_parse(const char *text, size_t n, const char *profile, struct aws_key_copy *out,
                          struct err *err) must_check;

#endif
