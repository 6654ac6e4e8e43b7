package inspect

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/pinned"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// Machine is what a build of ivo finds on the machine that it runs on.
type Machine struct {
	Version   string            // of ivo
	compiled  map[string]string // features that ggml was compiled for
	machine   []cpuFeature      // features that ggml can use, and whether the CPU has them
	devices   []llama.Device
	gpu       bool
	embedded  bool // the llama.cpp that is linked in is the embedded copy
	cpus      int
	limit     int    // CPUs that a container leaves to the process
	available uint64 // bytes of memory; 0 where the system does not say
}

// ThisMachine looks around.
func ThisMachine(version string) *Machine {
	return &Machine{
		Version:  version,
		compiled: llama.CPUFeatures(), machine: machineFeatures(), devices: llama.Devices(),
		cpus: runtime.NumCPU(), limit: runtime.GOMAXPROCS(0), available: availableMemory(),
		gpu: llama.SupportsGPU(), embedded: strings.HasPrefix(llama.Build(), "embedded"),
	}
}

// cpuFeature is a feature of the CPU by ggml's name.
type cpuFeature struct {
	name string
	has  bool
}

// Write tells what was found, and what to do about it.
func (m *Machine) Write(w io.Writer) error {
	fmt.Fprintf(w, "ivo %s, %s/%s\n%s\n\n", m.Version, runtime.GOOS, runtime.GOARCH, llama.Build())
	threads := fmt.Sprintf("%d, of which small models use 1 and others %d", m.cpus, m.cpus)
	rows := sheet.Sheet{{"CPUs", threads}}
	for _, d := range m.devices {
		memory := sheet.Size(d.Total)
		if d.Free != d.Total {
			memory = sheet.Size(d.Free) + " free of " + memory
		}
		rows = append(rows, sheet.Property{"device", fmt.Sprintf("%s: %s, %s", d.Name, d.Description, memory)})
	}
	rows = append(rows, sheet.Property{"GPU offload", yes(m.gpu)})
	if m.available > 0 {
		rows = append(rows, sheet.Property{"memory free", sheet.Size(m.available)})
	}
	if err := rows.Write(w); err != nil {
		return err
	}

	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CPU feature\tin this machine\tin this build")
	for _, f := range m.machine {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.name, yes(f.has), yes(m.uses(f.name)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var others []string
	for name, value := range m.compiled {
		if !slices.ContainsFunc(m.machine, func(f cpuFeature) bool { return f.name == name }) {
			others = append(others, name+"="+value)
		}
	}
	slices.Sort(others)
	fmt.Fprintf(w, "also in this build: %s\n\n", strings.Join(others, ", "))

	advice := m.advice()
	if len(advice) == 0 {
		advice = []string{"all is well"}
	}
	for _, a := range advice {
		fmt.Fprintln(w, "-", a)
	}
	return nil
}

// CPU is the kind of machine, as far as the arithmetic of its results depends on it: the system, and the features
// that the machine has of those that ggml can use. The C library chooses by them, whatever ggml was compiled for.
func (m *Machine) CPU() string {
	text := runtime.GOOS + "/" + runtime.GOARCH
	for _, f := range m.machine {
		if f.has {
			text += " " + f.name
		}
	}
	return text
}

// Card is what the machine says of itself to a fleet.
func (m *Machine) Card() fleet.Card {
	host, _ := os.Hostname()
	return fleet.Card{Host: host, Version: m.Version, Build: llama.Compiled(), CPU: m.CPU(), Cores: m.limit, Memory: m.available}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (m *Machine) uses(feature string) bool { v := m.compiled[feature]; return v != "" && v != "0" }

// differ lists the features that the machine has and the build does not use, and those
// that the build uses and the machine lacks.
func (m *Machine) differ() (unused, missing []string) {
	for _, f := range m.machine {
		switch uses := m.uses(f.name); {
		case f.has && !uses:
			unused = append(unused, f.name)
		case uses && !f.has:
			missing = append(missing, f.name)
		}
	}
	return unused, missing
}

// WarnSlow says before a long run that it could be many times shorter, where that is so.
func (m *Machine) WarnSlow(w io.Writer) {
	if slow := m.slow(); slow != "" {
		fmt.Fprintln(w, slow)
	}
}

// slow is what to do about a build that leaves most of the machine's speed unused, "" where it does
// not: one that was compiled without flags, as go install does. docs/log.md has the measurements.
func (m *Machine) slow() string {
	if unused, _ := m.differ(); !slices.Contains(unused, "AVX2") {
		return ""
	}
	return "This build does not use AVX2, and is 6 to 12 times slower than it could be: build it with make, not with plain go install or go build."
}

// lowMemory is what a model of some hundred million parameters needs with its cache.
const lowMemory = 1 << 30

func (m *Machine) advice() (out []string) {
	unused, _ := m.differ()
	switch {
	case m.slow() != "":
		out = append(out, m.slow())
	case len(unused) > 0:
		out = append(out, fmt.Sprintf("This machine has %s, which the build does not use. For speed here with quantized models, build with make ARCH=native (F32 models may be slower so: measure).", strings.Join(unused, ", ")))
	}
	if m.embedded {
		out = append(out, fmt.Sprintf("A newer llama.cpp (make LLAMA=%s) knows more models. Where it was measured, it was 1.13 times as fast as this copy for one sequence of a quantized model, not for many, and slower for small F32 models.", pinned.LlamaCpp.Tag))
	}
	if m.limit < m.cpus {
		out = append(out, fmt.Sprintf(fault.Spell("The process may use %d of %d CPUs: set {threads} to %d. More threads than CPUs are slower by far."), m.limit, m.cpus, m.limit))
	}
	if m.available > 0 && m.available < lowMemory {
		out = append(out, fmt.Sprintf(fault.Spell("Only %s of memory are free: use a small or quantized model and lower {ctx}."), sheet.Size(m.available)))
	}
	return out
}

// Broken is an error when the build cannot work on this machine.
func (m *Machine) Broken() error {
	if len(m.devices) == 0 {
		return fmt.Errorf("llama.cpp found no device to compute on (build ivo again with make)")
	}
	if _, missing := m.differ(); len(missing) > 0 {
		return fmt.Errorf("this build uses %s, which this machine lacks, and will crash (build it on this machine with make)", strings.Join(missing, ", "))
	}
	return nil
}

// WriteArchitectures lists the architectures that the linked llama.cpp knows, one a line.
func WriteArchitectures(w io.Writer) error {
	names := llama.Architectures()
	if names == nil {
		return fmt.Errorf("%s does not tell which architectures it knows (load a model: the error names what is not known)", llama.Build())
	}
	_, err := fmt.Fprintln(w, strings.Join(names, "\n"))
	return err
}

// availableMemory is what the system could give to new processes, in bytes.
func availableMemory() uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kilobytes uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return 0
}
