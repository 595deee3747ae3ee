// The module: the tables, and the functions that change them. They run inside the database; each call is
// one transaction, and returning an error undoes it.
#include "lightcone.h"

LC_TABLE(person, PUBLIC)
typedef struct Person {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    String name LC_UNIQUE;
} Person;

LC_REDUCER
Error add(Ctx *ctx, String name) {
    name = lc_string_trim(name);
    if (name.len == 0) return lc_error("A person has a name");
    if (person_find_by_name(name)) return lc_error("%.*s is here already", LC_ARG(name));
    TRY(person_insert(&(Person){.name = name}));
    lc_log_info("%.*s was added", LC_ARG(name));
    return OK;
}

LC_REDUCER
Error remove(Ctx *ctx, uint64_t id) {
    person_delete_by_id(id);
    return OK;
}
