/* hdr - histograms in the log format of HdrHistogram (version 1.3 of the log, V2 of the encoding), which its
 * own tools and plotters read. Our buckets are those of HdrHistogram with two significant digits, so nothing
 * is lost. Pure. */
#ifndef BENCH_HDR_H
#define BENCH_HDR_H

#include "common/buf.h"
#include "common/hist.h"

/* The lines before the first interval; `began_s` since 1970. */
void hdr_put_head(struct buf *out, double began_s);

/* One interval with a tag (no comma, no space); the values are written as they are, here microseconds. */
void hdr_put_interval(struct buf *out, const char *tag, double length_s, const struct hist *h);

#endif
