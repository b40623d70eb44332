#include "common/err.h"

#include "common/check.h"

struct err_row {
    int status;
    const char *name, *text;
};

static const struct err_row rows[] = {{200, "ok", "success"},
#define X(name, status, text) {status, #name, text},
                                      ERRORS(X)
#undef X
};

static const struct err_row *row(int err)
{
    REQUIRE(err >= 0 && err < ERR_COUNT);
    return &rows[err];
}

const char *err_text(int err)
{
    return row(err)->text;
}

const char *err_name(int err)
{
    return row(err)->name;
}

bool err_is_no_answer(int err)
{
    return err_is_silence(err) || err == ERR_PROTOCOL;
}

bool err_is_silence(int err)
{
    return err == ERR_CONNECT || err == ERR_CONNECT_TIMEOUT || err == ERR_HEAD_TIMEOUT || err == ERR_DNS ||
           err == ERR_RESET || err == ERR_DOWN;
}

int err_status(int err)
{
    return row(err)->status;
}
