package cachedir_test

import (
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/cachedir"
)

// The first variable that is set decides.
func TestPath(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ ivo, xdg, home, want string }{
		{"own", "xdg", "home", "own/models/a"},
		{"", "xdg", "home", "xdg/ivo/models/a"},
		{"", "", "home", "home/.cache/ivo/models/a"},
		{"", "", "", ""},
	} {
		for name, value := range map[string]string{"IVO_CACHE": tc.ivo, "XDG_CACHE_HOME": tc.xdg, "HOME": tc.home, "USERPROFILE": tc.home} {
			if value != "" {
				value = filepath.Join(dir, value)
			}
			t.Setenv(name, value)
		}
		want := ""
		if tc.want != "" {
			want = filepath.Join(dir, filepath.FromSlash(tc.want))
		}
		if got, err := cachedir.Path("models", "a"); got != want || (err == nil) != (want != "") {
			t.Errorf("%+v: got %q, %v", tc, got, err)
		}
	}
}
