# The menu. Every recipe is a script or a CMake preset; nothing is hidden here.
.DEFAULT_GOAL := help
.PHONY: help bootstrap build run demo test check bench bench-peers torture fuzz lint format install clean

ARGS ?=

help: ## list what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

bootstrap: ## install what the build needs (Debian packages, npm packages); quick when all is there
	@scripts/bootstrap

build: bootstrap ## build the release program, build/eider, and libeider
	@scripts/build release eider libeider

run: build ## start the server on http://127.0.0.1:8000, data in ./data (ARGS="--demo" for demo data)
	@exec build/eider serve $(ARGS)

demo: build ## the same with a labelled generator of market, strategy and trade data
	@exec build/eider serve --demo $(ARGS)

test: build ## unit tests, end-to-end tests, fault tests; closes with "N passed, N failed"
	@scripts/test

check: bootstrap ## both compilers, all sanitizers, corpora, lint, layers, format
	@scripts/check

bench: build ## measure against the limits of this machine and the peers installed on it
	@scripts/build release eider bench_load bench_ws bench_limits bench_embed bench_cache bench_meter_log bench_meter_spend bench_spend
	@/usr/bin/python3 bench/run $(ARGS)

bench-peers: ## install the peers that Debian has (VictoriaMetrics, InfluxDB, PostgreSQL)
	@scripts/bootstrap --bench-peers

torture: build ## a million simulated lives, then kill -9 for an hour (LIVES=n, ROUNDS=n to choose)
	@scripts/torture

fuzz: bootstrap ## run every fuzz target for SECONDS seconds (default 60)
	@scripts/fuzz

lint: bootstrap ## clang-tidy, layer check, format check
	@scripts/lint

format: ## format the C sources
	@git ls-files 'src/*.[ch]' 'include/*.h' 'fuzz/*.c' 'bench/*.c' | xargs -r clang-format -i

install: build ## install under PREFIX (default /usr/local); DESTDIR stages a package, see docs/libeider.md
	@cmake --install build/release --prefix $(or $(PREFIX),/usr/local)

clean: ## remove what was built
	@rm -rf build web/dist
