#include "cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(&(struct cli_io){stdout, stderr}, argc, argv);
}
