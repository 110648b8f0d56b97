#include "lease/kv_mem.h"
#include "tier/kv_suite.h"

int main(void)
{
    struct kv *kv = kv_mem_new(clock_system());
    int failed = kv_suite_run("kv_mem", kv);
    kv_free(kv);
    return failed;
}
