package cli

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/llama"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check how well this build fits this machine, and say what to do",
		Description: "Example:\n\n  ivo doctor",
		Action: func(c *cli.Context) error {
			s := survey{
				compiled: llama.CPUFeatures(), machine: machineFeatures(), devices: llama.Devices(),
				cpus: runtime.NumCPU(), limit: runtime.GOMAXPROCS(0), available: availableMemory(),
				gpu: llama.SupportsGPU(),
			}
			if err := s.write(c.App.Writer); err != nil {
				return err
			}
			return s.broken()
		},
	}
}

// survey is what ivo doctor looks at.
type survey struct {
	compiled  map[string]string // features that ggml was compiled for
	machine   []cpuFeature      // features that ggml can use, and whether the CPU has them
	devices   []llama.Device
	gpu       bool
	cpus      int
	limit     int    // CPUs that a container leaves to the process
	available uint64 // bytes of memory; 0 where the system does not say
}

// cpuFeature is a feature of the CPU by ggml's name.
type cpuFeature struct {
	name string
	has  bool
}

func (s *survey) write(w io.Writer) error {
	fmt.Fprintf(w, "ivo %s, %s/%s\n%s\n\n", version(), runtime.GOOS, runtime.GOARCH, llama.Build())
	threads := fmt.Sprintf("%d, of which small models use 1 and others %d", s.cpus, s.cpus)
	rows := sheet.Sheet{{"CPUs", threads}}
	for _, d := range s.devices {
		memory := sheet.Size(d.Total)
		if d.Free != d.Total {
			memory = sheet.Size(d.Free) + " free of " + memory
		}
		rows = append(rows, sheet.Property{"device", fmt.Sprintf("%s: %s, %s", d.Name, d.Description, memory)})
	}
	rows = append(rows, sheet.Property{"GPU offload", yes(s.gpu)})
	if s.available > 0 {
		rows = append(rows, sheet.Property{"memory free", sheet.Size(s.available)})
	}
	if err := rows.Write(w); err != nil {
		return err
	}

	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CPU feature\tin this machine\tin this build")
	for _, f := range s.machine {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.name, yes(f.has), yes(s.uses(f.name)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var others []string
	for name, value := range s.compiled {
		if !slices.ContainsFunc(s.machine, func(f cpuFeature) bool { return f.name == name }) {
			others = append(others, name+"="+value)
		}
	}
	slices.Sort(others)
	fmt.Fprintf(w, "also in this build: %s\n\n", strings.Join(others, ", "))

	advice := s.advice()
	if len(advice) == 0 {
		advice = []string{"all is well"}
	}
	for _, a := range advice {
		fmt.Fprintln(w, "-", a)
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (s *survey) uses(feature string) bool { v := s.compiled[feature]; return v != "" && v != "0" }

// differ lists the features that the machine has and the build does not use, and those
// that the build uses and the machine lacks.
func (s *survey) differ() (unused, missing []string) {
	for _, f := range s.machine {
		switch uses := s.uses(f.name); {
		case f.has && !uses:
			unused = append(unused, f.name)
		case uses && !f.has:
			missing = append(missing, f.name)
		}
	}
	return unused, missing
}

// lowMemory is what a model of some hundred million parameters needs with its cache.
const lowMemory = 1 << 30

func (s *survey) advice() (out []string) {
	unused, _ := s.differ()
	switch {
	case slices.Contains(unused, "AVX2"):
		out = append(out, "This build does not use AVX2: it is many times slower than it could be. Build with make, not with plain go build.")
	case len(unused) > 0:
		out = append(out, fmt.Sprintf("This machine has %s, which the build does not use. For speed here with quantized models, build with make ARCH=native (F32 models may be slower so: measure).", strings.Join(unused, ", ")))
	}
	if s.limit < s.cpus {
		out = append(out, fmt.Sprintf("The process may use %d of %d CPUs: give -t %d. More threads than CPUs are slower by far.", s.limit, s.cpus, s.limit))
	}
	if s.available > 0 && s.available < lowMemory {
		out = append(out, fmt.Sprintf("Only %s of memory are free: use a small or quantized model and a short context (-c).", sheet.Size(s.available)))
	}
	return out
}

// broken is an error when the build cannot work on this machine.
func (s *survey) broken() error {
	if len(s.devices) == 0 {
		return fmt.Errorf("llama.cpp found no device to compute on (build ivo again with make)")
	}
	if _, missing := s.differ(); len(missing) > 0 {
		return fmt.Errorf("this build uses %s, which this machine lacks, and will crash (build it on this machine with make)", strings.Join(missing, ", "))
	}
	return nil
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
