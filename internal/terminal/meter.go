package terminal

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Meter shows how far the stages of a long piece of work are: as bars on a terminal, as
// plain lines elsewhere, one at the end of each stage and one every lineEvery before it.
type Meter struct {
	w        io.Writer
	terminal bool
	bar      *progressbar.ProgressBar
	stage    string
	finished bool // the stage's last line was written
	last     time.Time
	from     time.Time // before it nothing is shown
}

const lineEvery = 10 * time.Second

// NewMeter makes a meter that writes to w.
func NewMeter(w io.Writer) *Meter { return &Meter{w: w, terminal: Is(w), last: time.Now()} }

// NewPatientMeter is NewMeter of work that seldom takes long: it shows nothing for two seconds.
func NewPatientMeter(w io.Writer) *Meter {
	m := NewMeter(w)
	m.from = time.Now().Add(2 * time.Second)
	return m
}

// Is says whether something is a terminal.
func Is(x any) bool {
	f, ok := x.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Show says that done of total units of the stage are done; note is what is known so far.
func (m *Meter) Show(stage string, done, total int, unit, note string) {
	if time.Now().Before(m.from) {
		return
	}
	if stage != m.stage {
		m.Close()
		m.stage, m.finished = stage, false
	}
	text := stage
	if note != "" {
		text += " (" + note + ")"
	}
	if m.terminal {
		if m.bar == nil {
			m.bar = progressbar.NewOptions(total,
				progressbar.OptionSetWriter(m.w), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(20),
				progressbar.OptionSetElapsedTime(true), progressbar.OptionShowElapsedTimeOnFinish())
		}
		m.bar.Describe(text)
		m.bar.Set(done)
		return
	}
	now := time.Now()
	if m.finished || (done < total && now.Sub(m.last) < lineEvery) {
		return
	}
	m.last, m.finished = now, done >= total
	fmt.Fprintf(m.w, "%s: %d of %d %s", stage, done, total, unit)
	if note != "" {
		fmt.Fprintf(m.w, ", %s", note)
	}
	fmt.Fprintln(m.w)
}

// Close ends the bar of the last stage, whether it is complete or not.
func (m *Meter) Close() {
	if m.bar != nil {
		fmt.Fprintln(m.w)
		m.bar = nil
	}
}
