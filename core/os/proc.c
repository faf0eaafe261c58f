/* Process properties: identity, parent, program. Privileges only go down and are checked afterwards.
 * Called by the arbiter, the zygote starter and workers, before they serve. */
#include "core/os/proc.h"
#include "core/base/str.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int set_groups(uid_t uid, gid_t gid, bool all)
{
    struct passwd *pw = NULL;
    if (all) {
        errno = 0;
        pw = getpwuid(uid);
        if (!pw) {
            if (errno == 0)
                errno = ENOENT;
            return MC_ERROR;
        }
        return initgroups(pw->pw_name, gid) == 0 ? MC_OK : MC_ERROR;
    }
    return setgroups(1, &gid) == 0 ? MC_OK : MC_ERROR;
}

/* What the kernel says we are now, and that there is no way back. */
static int check_dropped(uid_t uid, gid_t gid)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
        return MC_ERROR;
    bool same = ruid == uid && euid == uid && suid == uid && rgid == gid && egid == gid && sgid == gid;
    bool root_again = uid != 0 && (setuid(0) == 0 || seteuid(0) == 0);
    bool group_again = uid != 0 && gid != 0 && (setgid(0) == 0 || setegid(0) == 0);
    if (same && !root_again && !group_again)
        return MC_OK;
    errno = EPERM;
    return MC_ERROR;
}

int mc_proc_drop(uid_t uid, gid_t gid, bool initgroups)
{
    bool named_user = uid != (uid_t)-1;
    if (!named_user && gid == (gid_t)-1)
        return MC_OK;
    if (!named_user)
        uid = geteuid();
    if (gid == (gid_t)-1)
        gid = getegid();
    /* Without root there are no groups to drop, and the calls below succeed only for what we already are. */
    if (geteuid() == 0 && set_groups(uid, gid, initgroups && named_user) != MC_OK)
        return MC_ERROR;
    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return MC_ERROR;
    if (check_dropped(uid, gid) != MC_OK)
        return MC_ERROR;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? MC_OK : MC_ERROR;
}

int mc_proc_user(const char *name, uid_t *uid, gid_t *gid)
{
    uint64_t id;
    struct passwd *pw = getpwnam(name);
    if (!pw) {
        /* (uid_t) -1 means "keep" to every system call. */
        if (mc_str_to_u64(mc_str(name), UINT32_MAX - 1, &id) != MC_OK)
            return MC_ERROR;
        pw = getpwuid((uid_t)id);
        *uid = (uid_t)id;
    } else {
        *uid = pw->pw_uid;
    }
    if (gid)
        *gid = pw ? pw->pw_gid : (gid_t)-1;
    return MC_OK;
}

int mc_proc_group(const char *name, gid_t *gid)
{
    uint64_t id;
    struct group *gr = getgrnam(name);
    if (gr) {
        *gid = gr->gr_gid;
        return MC_OK;
    }
    if (mc_str_to_u64(mc_str(name), UINT32_MAX - 1, &id) != MC_OK)
        return MC_ERROR;
    *gid = (gid_t)id;
    return MC_OK;
}

int mc_proc_parent_death(int sig)
{
    return prctl(PR_SET_PDEATHSIG, (unsigned long)sig, 0, 0, 0) == 0 ? MC_OK : MC_ERROR;
}

int mc_proc_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? MC_OK : MC_ERROR;
}

const char *mc_proc_exe(void)
{
    static const char deleted[] = " (deleted)";
    static char path[PATH_MAX];
    if (path[0])
        return path;
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0 || n == (ssize_t)sizeof(path) - 1)
        n = 0;
    path[n] = '\0';
    /* After an upgrade the new program stands under the old name. */
    size_t suffix = sizeof(deleted) - 1;
    if ((size_t)n > suffix && access(path, F_OK) != 0 && strcmp(path + n - suffix, deleted) == 0)
        path[(size_t)n - suffix] = '\0';
    return path;
}

#ifdef __GLIBC__
void mc_proc_trim(void)
{
    (void)malloc_trim(0);
}
#else
void mc_proc_trim(void)
{
}
#endif
