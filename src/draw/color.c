#include "draw/color.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* https://graphite.readthedocs.io/en/1.1.8/render_api.html#colorlist */
static const struct {
    const char *name;
    unsigned rgb;
} names[] = {
    {"black", 0x000000},    {"white", 0xffffff},    {"blue", 0x6464ff},      {"green", 0x00c800},
    {"red", 0xc80032},      {"yellow", 0xffff00},   {"orange", 0xffa500},    {"purple", 0xc864ff},
    {"brown", 0x966432},    {"cyan", 0x00ffff},     {"aqua", 0x009696},      {"gray", 0xafafaf},
    {"grey", 0xafafaf},     {"magenta", 0xff00ff},  {"pink", 0xff6464},      {"gold", 0xc8c800},
    {"rose", 0xc896c8},     {"darkblue", 0x0000ff}, {"darkgreen", 0x00ff00}, {"darkred", 0xff0000},
    {"darkgray", 0x6f6f6f}, {"darkgrey", 0x6f6f6f},
};

static const unsigned lines[] = {0x3b7dd8, 0x2fa84f, 0xd8433b, 0xe0a01b, 0x8b5cd6, 0x18a5a5,
                                 0xc2588f, 0x7a8b1e, 0x5b6ee1, 0xb4652a, 0x3f9e8c, 0x9c6b9e};

static struct color of_rgb(unsigned rgb)
{
    return (struct color){(rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0, 1};
}

struct color color_of_line(size_t i)
{
    return of_rgb(lines[i % (sizeof lines / sizeof *lines)]);
}

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

int color_parse(const char *text, size_t len, struct color *out)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == len && !strncasecmp(names[i].name, text, len)) {
            *out = of_rgb(names[i].rgb);
            return 0;
        }
    if (len && *text == '#') {
        text++;
        len--;
    }
    for (size_t i = 0; i < len; i++)
        if (!isxdigit((unsigned char)text[i]))
            return -1;
    if (len != 3 && len != 6 && len != 8)
        return -1;
    double part[4] = {0, 0, 0, 1};
    size_t wide = len == 3 ? 1 : 2;
    for (size_t i = 0; i * wide < len; i++)
        part[i] =
            (wide == 1 ? digit(text[i]) * 17 : digit(text[2 * i]) * 16 + digit(text[2 * i + 1])) / 255.0;
    *out = (struct color){part[0], part[1], part[2], part[3]};
    return 0;
}
