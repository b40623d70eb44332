# Shield: `make` builds into build/; see README.md for the two commands that do everything.
VARIANT ?= release
CC      ?= cc
B       := build/$(if $(filter release,$(VARIANT)),,$(VARIANT)/)
O       := $(B)obj
# make V=1 shows the commands
Q       := $(if $(V),,@)

LIBS_PKG := libuv lmdb libcares yaml-0.1 jansson libxxhash
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

WARN   := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
          -Wno-unused-parameter -Werror
CFLAGS ?= -O2 -g
# What whoever has found a bug would still have to get around, as far as the compiler knows it.
HARDENED := -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero \
            -fcf-protection -mbranch-protection=standard
hash     := \#
knows     = $(shell echo '$(hash)include <string.h>' | $(CC) -O2 -Werror $(1) -x c -c -o /dev/null - 2>/dev/null && echo '$(1)')
fortify   = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=
CFLAGS_release := $(or $(call knows,$(fortify)3),$(fortify)2) $(foreach f,$(HARDENED),$(call knows,$f))
CFLAGS_clang   := $(CFLAGS_release)
CFLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz    := -O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
ALL_CFLAGS  = $(CFLAGS) $(CFLAGS_$(VARIANT)) -std=c17 -D_GNU_SOURCE -pthread -I. $(WARN) -MMD -MP -fPIE
ALL_LDFLAGS = $(LDFLAGS) $(filter -fsanitize=% -fno-sanitize%,$(subst fuzzer-no-link,fuzzer,$(CFLAGS_$(VARIANT)))) -pthread -pie \
              -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
LDLIBS      = $(shell pkg-config --libs $(LIBS_PKG) 2>/dev/null || echo -luv -llmdb -lcares -lyaml -ljansson -lxxhash) -lm

FOLDERS := common $(patsubst %/,%,$(wildcard shield/*/)) bench
libsrc   = $(filter-out %/main.c bench/bare_server.c bench/purge_check.c,$(wildcard $(1)/*.c))
lib      = $(O)/lib$(subst /,_,$(1)).a
# Right to left, as STYLE.md's arrow points: an archive may use those that stand behind it here.
SHIELD_ORDER ?= shield/http shield/request shield/admin shield/warm shield/cache shield/flight shield/origin shield/purge shield/store shield/net shield/policy shield/ops common
SHIELD_LIBS  := $(foreach f,$(SHIELD_ORDER),$(call lib,$(f)))

all: $(B)shield $(B)shield-bench $(B)bare-server $(B)purge-check $(B)hit-ratio $(B)shieldctl

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $(B)$<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(O)/shield/main.o $(O)/shield/ops/metrics.o $(O)/shield/ctl/ctl_options.o: ALL_CFLAGS += -DSHIELD_VERSION='"$(VERSION)"'

define archive
$(call lib,$(1)): $(patsubst %.c,$(O)/%.o,$(call libsrc,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)ar crs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$(f))))

SHIELD_OBJS := $(patsubst %.c,$(O)/%.o,$(wildcard shield/*.c))
$(B)shield: $(SHIELD_OBJS) $(SHIELD_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(SHIELD_OBJS) -Wl,--start-group $(SHIELD_LIBS) -Wl,--end-group $(LDLIBS)

# Unit tests: test/unit/test_X.c links the archives of every folder, but only those whose symbols it needs are pulled in.
UNIT_SRC := $(wildcard test/unit/test_*.c)
UNITS    := $(patsubst test/unit/%.c,$(B)unit/%,$(UNIT_SRC))
$(B)unit/%: $(O)/test/unit/%.o $(SHIELD_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(SHIELD_LIBS) -Wl,--end-group $(LDLIBS) -lcmocka

$(B)shieldctl: $(O)/shield/ctl/main.o $(call lib,shield/ctl) $(call lib,common)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -Wl,--as-needed $(LDLIBS)

clean:
	rm -rf build

.PHONY: all clean
.DEFAULT_GOAL := all
include bench/bench.mk
include test/test.mk
-include $(patsubst %.c,$(O)/%.d,$(wildcard common/*.c shield/*.c shield/*/*.c bench/*.c))
