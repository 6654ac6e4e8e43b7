// Package sheet lists what is known of something, a property a line, for people to read.
package sheet

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

// Property is a name and a value, which is shown as fmt has it.
type Property [2]any

// Sheet is a list of properties.
type Sheet []Property

// Write prints the sheet in two columns. Values may come from files: they are shown so that they
// cannot command a terminal.
func (s Sheet) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range s {
		fmt.Fprintf(t, "%v\t%s\n", p[0], terminal.Visible(fmt.Sprint(p[1])))
	}
	return t.Flush()
}

// Size is a number of bytes.
func Size(bytes uint64) string {
	x, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// Count is a large number of things.
func Count(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}
