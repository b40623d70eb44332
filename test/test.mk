# Everything that checks Shield; included by the Makefile. Each target can be run alone.
PYTHON       ?= /usr/bin/python3
FUZZ_SECONDS ?= 20
SOAK_SECONDS ?= 300
CRASH_ROUNDS ?= 100
POWER_CUTS   ?= 100
PYTEST_FLAGS ?=
PREFIX       ?= /usr/local
WIRE         := $(PYTHON) -B -m pytest -q -rs -p no:cacheprovider $(PYTEST_FLAGS) test/wire test/bench

# gcc 12's ThreadSanitizer cannot place its shadow under the address randomisation of newer kernels.
FIXED_MAP = $(shell setarch -R true 2>/dev/null && echo setarch -R)

ENV_release := WIRE_PATIENCE=1
ENV_asan    := WIRE_PATIENCE=3 ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 \
               LSAN_OPTIONS=suppressions=$(CURDIR)/test/lsan.supp UBSAN_OPTIONS=print_stacktrace=1
ENV_tsan    := WIRE_PATIENCE=6 TSAN_OPTIONS=second_deadlock_stack=1:suppressions=$(CURDIR)/test/tsan.supp
RUN_tsan     = $(FIXED_MAP)

.PHONY: test check-unit check-wire check-hardened check-llhttp asan tsan soak check-soak check-crash fuzz fuzz-run format layers bench install

# One after the other whatever -j says, so that the wire tests have the machine to themselves; the building is parallel.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

test:
	+@$(MAKE) --no-print-directory $(JOBS) layers
	+@$(MAKE) --no-print-directory $(JOBS) check-hardened
	+@$(MAKE) --no-print-directory $(JOBS) check-unit
	+@$(MAKE) --no-print-directory $(JOBS) check-llhttp
	+@$(MAKE) --no-print-directory $(JOBS) check-wire

check-unit: $(UNITS)
	@$(ENV_$(VARIANT)) $(RUN_$(VARIANT)) $(PYTHON) test/run_units.py $(UNITS)

# Our parser against llhttp, where deploy/deps.sh --test has found one: Debian 13 has it as a library, Debian 12 as sources.
LLHTTP_LIB  := $(wildcard /usr/include/llhttp.h)
LLHTTP_SRC  := $(if $(LLHTTP_LIB),,$(wildcard /usr/share/llhttp/*.c))
LLHTTP_OBJS := $(patsubst /usr/share/%.c,$(O)/%.o,$(LLHTTP_SRC))
DIFF_SRC    := $(wildcard test/differential/*.c)
DIFF_OBJS   := $(patsubst %.c,$(O)/%.o,$(DIFF_SRC))
$(O)/test/differential/theirs.o: ALL_CFLAGS += $(if $(LLHTTP_SRC),-isystem /usr/share/include/llhttp)

$(LLHTTP_OBJS): $(O)/%.o: /usr/share/%.c
	@mkdir -p $(@D)
	@echo "  cc $(B)$<"
	$(Q)$(CC) -O2 -fPIE -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp -c -o $@ $<

$(B)llhttp-differential: $(DIFF_OBJS) $(LLHTTP_OBJS) $(call lib,common)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(if $(LLHTTP_LIB),-lllhttp) -lm

ifneq ($(LLHTTP_LIB)$(LLHTTP_SRC),)
check-llhttp: $(B)llhttp-differential
	@$(ENV_$(VARIANT)) $(RUN_$(VARIANT)) $<
else
check-llhttp:
	@echo "llhttp: skipped: neither libllhttp-dev nor node-llhttp is there (sh deploy/deps.sh --test)"
endif

check-hardened: $(B)shield $(B)shieldctl $(B)shield-bench
	@test/hardened $^

check-wire: $(B)shield $(B)shield-bench $(B)shieldctl
	@echo "wire: $(B)shield"
	@$(ENV_$(VARIANT)) SHIELD=$(B)shield $(RUN_$(VARIANT)) $(WIRE)

asan tsan:
	+@$(MAKE) --no-print-directory $(JOBS) VARIANT=$@ check-unit
	+@$(MAKE) --no-print-directory $(JOBS) VARIANT=$@ check-wire

# The long runs, of which `make test` carries a round: SOAK_SECONDS for each, plain and under the sanitizers; plain
# also CRASH_ROUNDS kills of a store with room and as many of one that evicts, and POWER_CUTS images of each kind.
soak:
	+@$(MAKE) --no-print-directory $(JOBS) check-crash
	+@for variant in release asan tsan; do \
	    $(MAKE) --no-print-directory $(JOBS) VARIANT=$$variant check-soak || exit 1; done

SOAKS := $(patsubst %,test/wire/test_%.py,soak garbage desync $(if $(filter asan tsan,$(VARIANT)),,churn))

check-soak: $(B)shield $(B)shield-bench
	@echo "soak: $(B)shield"
	@$(ENV_$(VARIANT)) SHIELD=$(B)shield SOAK_SECONDS=$(SOAK_SECONDS) $(RUN_$(VARIANT)) \
	    $(PYTHON) -B -m pytest -q -s -p no:cacheprovider $(PYTEST_FLAGS) $(SOAKS)

check-crash: $(B)shield $(B)shield-bench
	@echo "crashes: $(B)shield"
	@$(ENV_$(VARIANT)) SHIELD=$(B)shield CRASH_ROUNDS=$(CRASH_ROUNDS) POWER_CUTS=$(POWER_CUTS) $(RUN_$(VARIANT)) \
	    $(PYTHON) -B -m pytest -q -s -p no:cacheprovider $(PYTEST_FLAGS) test/wire/test_crash.py test/wire/test_power_cut.py

# libFuzzer: the archives are built with coverage, each target runs from its kept corpus into a scratch one.
FUZZ_SRC     := $(wildcard test/fuzz/fuzz_*.c)
FUZZ_TARGETS := $(patsubst test/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))

fuzz:
	+@$(MAKE) --no-print-directory $(JOBS) VARIANT=fuzz CC=clang fuzz-run

$(FUZZ_TARGETS): build/fuzz/%: build/fuzz/obj/test/fuzz/%.o $(SHIELD_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(SHIELD_LIBS) -Wl,--end-group $(LDLIBS)

fuzz-run: $(FUZZ_TARGETS)
	@sh test/run_fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

format:
	clang-format -i $$(find common shield bench test -name '*.[ch]')

layers:
	@$(PYTHON) test/layers

bench: all
	@[ -f bench/run.sh ] || { echo "bench/run.sh is missing" >&2; exit 1; }
	sh bench/run.sh $(B)

# The manual pages: what the programs say of themselves with --help stands in its place.
MAN := $(addprefix $(B)man/,shield.8 shieldctl.1 shield-bench.1)
$(B)man/%: deploy/man/%.in deploy/man/page deploy/man/help.awk $(B)shield $(B)shieldctl $(B)shield-bench
	@mkdir -p $(@D)
	$(Q)sh deploy/man/page $(B) $< >$@.new && mv $@.new $@

SHARE := $(DESTDIR)$(PREFIX)/share
install: all $(MAN)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/shield
	install -m 755 $(B)shield $(B)shieldctl $(B)shield-bench $(DESTDIR)$(PREFIX)/bin
	sed 's|@PREFIX@|$(PREFIX)|g' deploy/shield.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/shield.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/shield.service
	install -m 644 deploy/shield.yaml deploy/nginx-edge.conf README.md $(DESTDIR)$(PREFIX)/share/doc/shield
	install -d $(DESTDIR)$(PREFIX)/share/shield/bench/peers $(DESTDIR)$(PREFIX)/share/shield/bench/scenarios
	install -m 644 bench/peers/* $(DESTDIR)$(PREFIX)/share/shield/bench/peers
	install -m 644 bench/scenarios/* $(DESTDIR)$(PREFIX)/share/shield/bench/scenarios
	install -d $(SHARE)/man/man1 $(SHARE)/man/man8 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions
	install -m 644 $(filter %.1,$(MAN)) $(SHARE)/man/man1
	install -m 644 $(filter %.8,$(MAN)) $(SHARE)/man/man8
	install -m 644 deploy/completion/shieldctl.bash $(SHARE)/bash-completion/completions/shieldctl
	ln -sf shieldctl $(SHARE)/bash-completion/completions/shield
	ln -sf shieldctl $(SHARE)/bash-completion/completions/shield-bench
	install -m 644 deploy/completion/_shieldctl $(SHARE)/zsh/site-functions

-include $(patsubst %.c,$(O)/%.d,$(UNIT_SRC) $(FUZZ_SRC) $(DIFF_SRC))
