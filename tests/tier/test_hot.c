#include "hot/hot_fault.h"
#include "hot/hot_mem.h"
#include "tier/hot_conformance.h"

#include <string.h>

/* Without rules it is as what it wraps. */
static struct hot *fault_new(unsigned partitions)
{
    return hot_fault_new(hot_mem_new(partitions));
}

/* One backend a run: the output of a run is one list of cases. */
int main(int argc, char **argv)
{
    bool fault = argc > 1 && !strcmp(argv[1], "fault");
    return fault ? hot_conformance("hot_fault", fault_new) : hot_conformance("hot_mem", hot_mem_new);
}
