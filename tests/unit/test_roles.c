#include "base/mem.h"
#include "server/roles.h"
#include "server/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void lists_of_roles_are_read(void **state)
{
    static const struct {
        const char *text;
        unsigned want;
        const char *name;
    } list[] = {
        {"all", ROLE_ALL, "ingest,writer,mover,reader"},
        {"ingest", ROLE_INGEST, "ingest"},
        {" reader , mover ", ROLE_READER | ROLE_MOVER, "mover,reader"},
        {"writer,writer", ROLE_WRITER, "writer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        unsigned got;
        char name[40];
        assert_int_equal(roles_parse(list[i].text, &got, NULL), OK);
        assert_int_equal(got, list[i].want);
        roles_name(got, name);
        assert_string_equal(name, list[i].name);
    }
    static const char *const bad[] = {"", "readers", "ingest,", ",ingest", "ingest;writer", "ingest writer"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        unsigned got;
        struct err err = ERR_INIT;
        assert_int_equal(roles_parse(bad[i], &got, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, "ingest, writer, mover, reader"));
    }
}

static void set(struct config *c, const char *assignment)
{
    struct err err = ERR_INIT;
    if (config_set(c, assignment, &err) != OK)
        fail_msg("%s", err.text);
}

/* What one process keeps for itself the others cannot see. */
static void some_roles_need_shared_tiers(void **state)
{
    struct config *c = config_new(server_config_keys, server_config_keys_n);
    struct err err = ERR_INIT;
    assert_int_equal(roles_check(ROLE_ALL, c, &err), OK);
    assert_int_equal(roles_check(ROLE_READER, c, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "hot.backend = redis"));
    assert_null(strstr(err.text, "stream.backend"));
    set(c, "catalog.backend=postgres");
    assert_int_equal(roles_check(ROLE_INGEST, c, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "stream.backend"));
    assert_null(strstr(err.text, "catalog.backend"));
    assert_null(strstr(err.text, "warm.backend"));
    set(c, "stream.backend=jetstream");
    assert_int_equal(roles_check(ROLE_INGEST, c, &err), OK);
    assert_int_equal(roles_check(ROLE_INGEST | ROLE_WRITER, c, &err), ERR_INVALID);
    set(c, "hot.backend=redis");
    set(c, "warm.backend=dynamodb");
    set(c, "cold.backend=s3");
    for (unsigned roles = 1; roles <= ROLE_ALL; roles++)
        assert_int_equal(roles_check(roles, c, &err), OK);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_roles_are_read),
        cmocka_unit_test(some_roles_need_shared_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
