/* fuzz_config - any bytes as a configuration file, and behind a NUL any NAME=VALUE as an override. What loads
 * must dump to YAML that loads to the same dump. */
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *load(struct span yaml, const struct config_override *o, size_t n, struct buf *errors)
{
    struct config *c = NULL;
    int err = config_load_text(&c, "f", yaml, o, n, false, errors);
    ENSURE((err == 0) == (c != NULL));
    ENSURE(err == 0 || errors->len > 0);
    return c;
}

static void check_round_trip(const struct config *c)
{
    struct buf first = {0}, second = {0}, errors = {0};
    config_dump(c, &first);
    struct config *back = load(buf_span(&first), NULL, 0, &errors);
    ENSURE(back != NULL);
    config_dump(back, &second);
    ENSURE(span_eq(buf_span(&first), buf_span(&second)));
    config_restart_needed(c, back, &errors);
    config_unref(&back);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';

    struct config_override o = {0};
    size_t yaml_len = strlen(text);
    if (yaml_len < size) {
        char *name = text + yaml_len + 1, *equals = strchr(name, '=');
        if (equals != NULL) {
            *equals = '\0';
            o = (struct config_override){name, equals + 1};
        }
    }
    struct buf errors = {0};
    struct config *c = load((struct span){text, yaml_len}, &o, o.name != NULL, &errors);
    if (c != NULL)
        check_round_trip(c);
    config_unref(&c);
    buf_fini(&errors);
    free(text);
    return 0;
}
