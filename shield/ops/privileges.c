#include "shield/ops/privileges.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { NAME_BYTES = 256 };

struct account {
    char user[NAME_BYTES], group[NAME_BYTES];
    uid_t uid;
    gid_t gid;
};

static struct account dropped_to; /* user is "" until then */

const char *privileges_user(void)
{
    return dropped_to.user[0] != '\0' ? dropped_to.user : NULL;
}

/* ---- who it is ---- */

static int find_group(struct account *a, struct buf *errors)
{
    const struct group *g = a->group[0] != '\0' ? getgrnam(a->group) : getgrgid(a->gid);
    if (g != NULL) {
        a->gid = g->gr_gid;
        snprintf(a->group, sizeof a->group, "%s", g->gr_name);
    } else if (a->group[0] != '\0') {
        buf_printf(errors, "user: '%s': there is no such group; make it with: groupadd --system %s\n",
                   a->group, a->group);
        return ERR_SYNTAX;
    } else { /* a group without a name is one all the same */
        snprintf(a->group, sizeof a->group, "%lu", (unsigned long)a->gid);
    }
    return 0;
}

static int find_account(struct account *a, const char *text, struct buf *errors)
{
    size_t n = strcspn(text, ":");
    *a = (struct account){.uid = 0};
    if (n == 0 || n >= sizeof a->user || (text[n] == ':' && text[n + 1] == '\0') ||
        strlen(text + n) > sizeof a->group) {
        buf_printf(errors, "user: '%.60s': not NAME or NAME:GROUP\n", text);
        return ERR_SYNTAX;
    }
    memcpy(a->user, text, n);
    if (text[n] == ':')
        memcpy(a->group, text + n + 1, strlen(text + n));
    const struct passwd *p = getpwnam(a->user);
    if (p == NULL) {
        buf_printf(errors, "user: '%s': there is no such user; make it with: useradd --system %s\n", a->user,
                   a->user);
        return ERR_SYNTAX;
    }
    a->uid = p->pw_uid;
    a->gid = p->pw_gid;
    return find_group(a, errors);
}

int privileges_check(const char *user, struct buf *errors)
{
    struct account a;
    return user[0] == '\0' ? 0 : find_account(&a, user, errors);
}

/* ---- becoming it ---- */

/* Whether all three ids are the account's, and root is out of reach. */
static bool is_surely(const struct account *a)
{
    uid_t u[3];
    gid_t g[3];
    if (getresuid(&u[0], &u[1], &u[2]) != 0 || getresgid(&g[0], &g[1], &g[2]) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (u[i] != a->uid || g[i] != a->gid)
            return false;
    return setresuid((uid_t)-1, 0, (uid_t)-1) != 0 && setuid(0) != 0 && geteuid() == a->uid;
}

static int become(const struct account *a, struct buf *errors)
{
    if (initgroups(a->user, a->gid) != 0 || setresgid(a->gid, a->gid, a->gid) != 0 ||
        setresuid(a->uid, a->uid, a->uid) != 0) {
        buf_printf(errors, "user: cannot become %s:%s: %s\n", a->user, a->group, strerror(errno));
        return ERR_SYSTEM;
    }
    if (!is_surely(a)) {
        buf_printf(errors, "user: became %s:%s, but could become root again\n", a->user, a->group);
        return ERR_SYSTEM;
    }
    return 0;
}

/* ---- what it may do ---- */

static bool may_make(const char *path)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return true; /* whoever opens it says so */
    return access(dirname(copy), W_OK | X_OK) == 0;
}

static int check_store(const char *path, struct buf *errors)
{
    const struct account *a = &dropped_to;
    char data[PATH_MAX];
    if (path[0] == '\0')
        return 0;
    bool exists = access(path, F_OK) == 0;
    if (!exists && !may_make(path)) {
        buf_printf(errors,
                   "store.path: %s: user %s cannot make it; as root: install -d -o %s -g %s -m 750 %s\n",
                   path, a->user, a->user, a->group, path);
        return ERR_SYSTEM;
    }
    snprintf(data, sizeof data, "%s/data.mdb", path);
    bool data_is_shut = access(data, R_OK | W_OK) != 0 && errno != ENOENT;
    if (exists && (access(path, R_OK | W_OK | X_OK) != 0 || data_is_shut)) {
        buf_printf(errors, "store.path: %s: user %s cannot write there; as root: chown -R %s:%s %s\n", path,
                   a->user, a->user, a->group, path);
        return ERR_SYSTEM;
    }
    return 0;
}

static void warn_when_unreadable(const char *what, const char *path)
{
    if (path == NULL || path[0] == '\0' || access(path, R_OK) == 0)
        return;
    log_warn("user: %s cannot read %s (%s): a reload will be refused; as root: chgrp %s %s && chmod g+r %s",
             dropped_to.user, path, what, dropped_to.group, path, path);
}

int privileges_drop(const struct config *cfg, const char *config_file, struct buf *errors)
{
    struct account a;
    bool is_named = cfg->user[0] != '\0';
    int err = is_named ? find_account(&a, cfg->user, errors) : 0;
    if (err != 0)
        return err;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        log_warn("user: PR_SET_NO_NEW_PRIVS cannot be set: %s", strerror(errno));
    if (geteuid() != 0) {
        if (is_named && a.uid != geteuid())
            log_warn("user: %s: not started as root, so it stays the user that it was started as", cfg->user);
        return 0;
    }
    if (!is_named)
        log_warn("user: not given, so it serves as root; name a user that owns nothing but the store and the "
                 "logs");
    if (!is_named || a.uid == 0)
        return 0;

    err = become(&a, errors);
    if (err != 0)
        return err;
    dropped_to = a;
    log_info("user: serving as %s:%s", a.user, a.group);
    warn_when_unreadable("the configuration", config_file);
    warn_when_unreadable("admin.token_file", cfg->admin_token_file);
    warn_when_unreadable("debug.token_file", cfg->debug_token_file);
    return check_store(cfg->store_path, errors);
}
