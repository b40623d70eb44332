# The load tool, the yardstick beside it, and the demonstration. Included by the Makefile.
$(O)/bench/main.o: ALL_CFLAGS += -DSHIELD_VERSION='"$(VERSION)"'

BENCH_LIBS := $(call lib,bench) $(call lib,common)

$(B)shield-bench: $(O)/bench/main.o $(BENCH_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -Wl,--as-needed $(LDLIBS)

$(B)bare-server: $(O)/bench/bare_server.o $(BENCH_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -Wl,--as-needed $(LDLIBS)

$(B)purge-check: $(O)/bench/purge_check.o $(SHIELD_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(SHIELD_LIBS) -Wl,--end-group $(LDLIBS)

HIT_OBJS := $(patsubst %.c,$(O)/%.o,$(wildcard bench/hits/*.c))
$(B)hit-ratio: $(HIT_OBJS) $(SHIELD_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(HIT_OBJS) -Wl,--start-group $(SHIELD_LIBS) -Wl,--end-group $(LDLIBS)

$(B)unit/test_bench_%: $(O)/test/unit/test_bench_%.o $(BENCH_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -Wl,--as-needed $(LDLIBS) -lcmocka

demo: all
	$(B)shield-bench demo

.PHONY: demo
