/* carat query: asks /render of a running server and shows the answer. */
#include "cli/command.h"

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/chart.h"
#include "cli/fetch.h"
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_URL  "http://127.0.0.1:8012"
#define CHART_HEIGHT 16

static const char usage[] =
    "usage: carat query EXPR... [--from TIME] [--until TIME] [--format table|chart|json|csv]\n"
    "                   [--max-points N] [--url URL]\n"
    "\n"
    "Evaluates Graphite expressions on a running server and prints the answer.\n"
    "\n"
    "      --from TIME        start, in Graphite's forms: -1h, -7d, 1763800000, 14:30_20261122 (default "
    "-1h)\n"
    "      --until TIME       end (default now)\n"
    "  -f, --format FORMAT    table (default), chart (drawn in the terminal), json or csv\n"
    "      --max-points N     at most so many points a series; the server consolidates\n"
    "  -u, --url URL          the server (default " DEFAULT_URL ")\n"
    "\n"
    "COLUMNS sets the width where the terminal does not tell it. NO_COLOR switches colours off.\n"
    "example: carat query 'scale(servers.*.loadavg1, 100)' --from -6h --format chart\n";

enum { OPT_FROM = 2, OPT_UNTIL, OPT_FORMAT, OPT_MAX_POINTS, OPT_URL };
static const struct option_spec specs[] = {
    {"from", 0, true, OPT_FROM},       {"until", 0, true, OPT_UNTIL},
    {"format", 'f', true, OPT_FORMAT}, {"max-points", 0, true, OPT_MAX_POINTS},
    {"url", 'u', true, OPT_URL},       {NULL, 0, false, 0},
};

enum format { FORMAT_TABLE, FORMAT_CHART, FORMAT_JSON, FORMAT_CSV, FORMATS };
static const char *const format_names[FORMATS] = {"table", "chart", "json", "csv"};

struct query_options {
    const char *url, *from, *until, *max_points;
    enum format format;
    struct buf targets; /* "&target=..." for each expression */
};

static int set_format(struct query_options *q, const char *name, struct err *err)
{
    for (int i = 0; i < FORMATS; i++)
        if (!strcmp(name, format_names[i])) {
            q->format = (enum format)i;
            return OK;
        }
    return err_set(err, ERR_INVALID, "--format %.40s: expected table, chart, json or csv", name);
}

static int set_max_points(struct query_options *q, const char *text, struct err *err)
{
    q->max_points = text;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 9 || atoi(text) == 0)
        return err_set(err, ERR_INVALID, "--max-points %.40s: expected a whole number from 1", text);
    return OK;
}

static int take_option(struct query_options *q, int id, const char *value, struct err *err)
{
    switch (id) {
    case OPTIONS_OPERAND:
        buf_puts(&q->targets, "&target=");
        fetch_escape(value, &q->targets);
        return OK;
    case OPT_FROM:
        q->from = value;
        return OK;
    case OPT_UNTIL:
        q->until = value;
        return OK;
    case OPT_URL:
        q->url = value;
        return OK;
    case OPT_FORMAT:
        return set_format(q, value, err);
    case OPT_MAX_POINTS:
        return set_max_points(q, value, err);
    }
    return id;
}

static int read_options(struct query_options *q, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int rc = OK, id;
    while (rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END)
        rc = take_option(q, id, value, err);
    if (rc == OK && !q->targets.len)
        rc = err_set(err, ERR_INVALID, "an expression is missing; `carat help query` has an example");
    return rc;
}

static void build_url(const struct query_options *q, struct buf *url)
{
    size_t n = strlen(q->url);
    while (n && q->url[n - 1] == '/')
        n--;
    buf_append(url, q->url, n);
    buf_puts(url, "/render?format=json&from=");
    fetch_escape(q->from, url);
    buf_puts(url, "&until=");
    fetch_escape(q->until, url);
    if (q->max_points)
        buf_printf(url, "&maxDataPoints=%s", q->max_points);
    buf_append(url, q->targets.data, q->targets.len);
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;
    if (fileno(out) >= 0 && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    const char *columns = getenv("COLUMNS");
    int n = columns ? atoi(columns) : 0;
    return n > 0 ? (size_t)n : 80;
}

static void format_answer(const struct query_options *q, FILE *to, const struct answer *a, struct buf *out)
{
    size_t width = terminal_width(to);
    struct chart_style style = {width, CHART_HEIGHT, isatty(fileno(to)) && !getenv("NO_COLOR")};
    if (q->format == FORMAT_CSV)
        answer_format_csv(a, out);
    else if (a->n == 0)
        buf_puts(out, "no series match\n");
    else if (q->format == FORMAT_CHART)
        chart_draw(a, &style, out);
    else
        answer_format_table(a, width, out);
}

static int show(const struct query_options *q, const struct cli_io *io, const struct buf *body,
                struct err *err)
{
    struct buf text = BUF_INIT;
    struct answer a = {NULL, 0};
    int rc = OK;
    if (q->format == FORMAT_JSON)
        buf_append(&text, body->data, body->len);
    else
        rc = answer_parse((const char *)body->data, body->len, &a, err);
    if (rc == OK && q->format != FORMAT_JSON)
        format_answer(q, io->out, &a, &text);
    if (rc == OK && (fwrite(text.data, 1, text.len, io->out) != text.len || fflush(io->out) != 0))
        rc = err_set(err, ERR_IO, "cannot write the answer");
    answer_release(&a);
    buf_release(&text);
    return rc;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct query_options q = {DEFAULT_URL, "-1h", "now", NULL, FORMAT_TABLE, BUF_INIT};
    struct err err = ERR_INIT;
    struct buf url = BUF_INIT;
    struct fetched got = {0, BUF_INIT, BUF_INIT};
    int code = CLI_USAGE, rc = read_options(&q, argc, argv, &err);
    if (rc == OK) {
        code = CLI_FAILED;
        build_url(&q, &url);
        rc = fetch_get(buf_str(&url), &got, &err);
    }
    if (rc == OK)
        rc = show(&q, io, &got.body, &err);
    if (rc == OK && got.warning.len)
        fprintf(io->err, "carat query: the answer is incomplete: %s\n", buf_str(&got.warning));
    if (rc < 0)
        fprintf(io->err, "carat query: %s\n", err.text);
    fetched_release(&got);
    buf_release(&url);
    buf_release(&q.targets);
    return rc < 0 ? code : CLI_GOOD;
}

const struct command command_query = {"query", "ask a running server for series", usage, run};
