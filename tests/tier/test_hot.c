#include "hot/hot_mem.h"
#include "tier/hot_conformance.h"

int main(void)
{
    return hot_conformance("hot_mem", hot_mem_new);
}
