/* shieldctl - asks a running shield through its admin port. */
#include <string.h>

#include "shield/ctl/ctl_options.h"

static enum ctl_exit run(int argc, char **argv, struct ctl *c)
{
    const struct ctl_command *command;
    enum ctl_exit result = ctl_read_options(argc, argv, c, &command);
    if (result != CTL_OK || command == NULL)
        return result;
    return c->token_file == NULL || ctl_read_token(c, c->token_file) ? command->run(c) : CTL_FAILED;
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    enum ctl_exit result = run(argc, argv, &c);
    if (c.token.p != NULL)
        explicit_bzero(c.token.p, c.token.cap);
    buf_fini(&c.token);
    json_decref(c.order);
    return result;
}
