/* log - one line per event to stderr, with time, level and cause. Any thread. */
#ifndef SHIELD_OPS_LOG_H
#define SHIELD_OPS_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO };

/* "2026-01-31T10:20:30.456Z warn origin: default: 127.0.0.1:8000 refused the connection\n", in one write. Say
 * what happened, to what, and why. Control bytes in the text are escaped. */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)

#endif
