#include "base/secret_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int secret_file_read(const char *path, char *out, size_t size, struct err *err)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st) < 0) {
        int errnum = errno;
        if (f)
            fclose(f);
        return err_sys(err, ERR_IO, errnum, "read %s", path);
    }
    int rc = OK;
    size_t n = fread(out, 1, size - 1, f);
    out[n] = '\0';
    size_t line = strcspn(out, "\r\n");
    if (st.st_mode & S_IROTH)
        rc = err_set(err, ERR_INVALID, "%s can be read by everybody; chmod 600 it", path);
    else if (line == size - 1)
        rc = err_set(err, ERR_INVALID, "%s: the first line is longer than %zu bytes", path, size - 2);
    while (line && isspace((unsigned char)out[line - 1]))
        line--;
    memset(out + line, 0, size - line);
    fclose(f);
    if (rc == OK && line == 0)
        rc = err_set(err, ERR_INVALID, "%s is empty", path);
    return rc;
}
