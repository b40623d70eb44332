#include "shield/ctl/ctl.h"

#include "shield/ctl/ctl_show.h"

/* What came of both, as text or as {"purge":...,"warm":...}; NULL for what was not asked for. */
static enum ctl_exit print_both(const struct ctl *c, json_t *purged, json_t *warmed)
{
    struct buf out = {0};
    if (c->json) {
        json_t *both = json_pack("{s:O?,s:O?}", "purge", purged, "warm", warmed);
        enum ctl_exit result = ctl_print_json(both);
        json_decref(both);
        return result;
    }
    if (purged != NULL)
        ctl_purge_put(&out, purged);
    if (warmed != NULL)
        ctl_warm_put(&out, warmed);
    return ctl_print(&out);
}

/* Nothing is warmed before the purge is in force, nor when it is not: the old would be found fresh. */
enum ctl_exit ctl_deploy(const struct ctl *c)
{
    json_t *purged = NULL, *warmed = NULL;
    bool is_well = true;
    if (c->order != NULL) {
        purged = ctl_purge_order(c, &is_well);
        if (purged == NULL)
            return CTL_FAILED;
    }
    if (c->list_file != NULL) {
        warmed = ctl_warm_list(c, true);
        is_well = is_well && warmed != NULL && ctl_warm_is_well(warmed);
    }
    enum ctl_exit result = print_both(c, purged, warmed);
    json_decref(purged);
    json_decref(warmed);
    return is_well ? result : CTL_FAILED;
}
