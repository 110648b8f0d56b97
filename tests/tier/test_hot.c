#include "hot/hot_fault.h"
#include "hot/hot_mem.h"
#include "tier/hot_conformance.h"

/* Without rules it is as what it wraps. */
static struct hot *fault_new(unsigned partitions)
{
    return hot_fault_new(hot_mem_new(partitions));
}

int main(void)
{
    return hot_conformance("hot_mem", hot_mem_new) + hot_conformance("hot_fault", fault_new);
}
