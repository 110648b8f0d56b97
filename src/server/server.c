#include "server/server.h"

int server_run(const struct config *c, struct err *err)
{
    (void)c;
    return err_set(err, ERR_UNSUPPORTED, "this build has no server yet");
}
