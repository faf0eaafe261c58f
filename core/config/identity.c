/* Who the workers of a pool are: names of users and groups to numbers, which is how normal form has them. Called by resolve.c.
 * The user database is asked in the process that loads the configuration, never by a reader of normal form. */
#include "core/config/resolve.h"

#include "core/os/proc.h"

static int number(struct mc_build *b, struct mc_conf_where at, const char *what, const char *text, uint32_t *out)
{
    uint64_t v;
    if (mc_str_to_u64(mc_str(text), UINT32_MAX - 1, &v) != MC_OK)
        return mc_build_fail(b, at, "%s: '%.80s' is not in normal form", what, text);
    *out = (uint32_t)v;
    return MC_OK;
}

static int ask(struct mc_build *b, const struct mc_resolve_who *who, const struct mc_values *set, uid_t *uid, gid_t *gid)
{
    gid_t own = (gid_t)-1;
    if (set->user && mc_proc_user(set->user, uid, &own) != MC_OK)
        return mc_build_fail(b, who->user_at, "user: there is no user '%s'", set->user);
    if (!set->group || (who->users_group && own != (gid_t)-1))
        *gid = own;
    else if (mc_proc_group(set->group, gid) != MC_OK)
        return mc_build_fail(b, who->group_at, "group: there is no group '%s'", set->group);
    return MC_OK;
}

int mc_resolve_identity(struct mc_build *b, const struct mc_resolve_who *who, struct mc_values *set, uid_t *uid, gid_t *gid)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (b->image) {
        if (set->user && number(b, who->user_at, "user", set->user, uid) != MC_OK)
            return MC_ERROR;
        return set->group ? number(b, who->group_at, "group", set->group, gid) : MC_OK;
    }
    if (ask(b, who, set, uid, gid) != MC_OK)
        return MC_ERROR;
    if (*uid != (uid_t)-1 && !(set->user = mc_build_printf(b, "%lu", (unsigned long)*uid)))
        return MC_ERROR;
    if (*gid == (gid_t)-1)
        set->group = NULL;
    else if (!(set->group = mc_build_printf(b, "%lu", (unsigned long)*gid)))
        return MC_ERROR;
    return MC_OK;
}
