// The page of ivo serve in a headless Chromium: what people see, by keyboard, in light and dark, on narrow screens.
// scripts/e2e.sh says where the server is.
package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browse opens the page; the test is skipped where there is no Chromium, or no server.
func browse(t *testing.T) (context.Context, string) {
	t.Helper()
	url := os.Getenv("IVO_URL")
	if url == "" {
		t.Skip("IVO_URL names no server: make e2e runs one")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute)
	t.Cleanup(cancel)
	return ctx, url
}

// eval is the value of a JavaScript expression.
func eval[T any](t *testing.T, ctx context.Context, js string) (v T) {
	t.Helper()
	if err := chromedp.Run(ctx, chromedp.Evaluate(js, &v)); err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}

// question is what is asked, IVO_QUESTION where that is set.
func question() string {
	if q := os.Getenv("IVO_QUESTION"); q != "" {
		return q
	}
	return "i found a lamp in the garden today. it was red."
}

func TestPage(t *testing.T) {
	ctx, url := browse(t)
	shots := os.Getenv("IVO_SHOTS") // a folder for screenshots
	shot := func(name, scheme string) {
		t.Helper()
		var png []byte
		if err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), chromedp.FullScreenshot(&png, 100)); err != nil {
			t.Fatal(err)
		}
		if shots != "" {
			if err := os.WriteFile(filepath.Join(shots, name), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := chromedp.Run(ctx,
		chromedp.EmulateViewport(1200, 800),
		chromedp.Navigate(url),
		chromedp.Poll(`document.getElementById("method").length > 3`, nil),
		chromedp.SetValue("#tokens", "48", chromedp.ByQuery),
		chromedp.SetValue("#seed", "3", chromedp.ByQuery),
		// Nothing but the keyboard.
		chromedp.Focus("#message", chromedp.ByQuery),
		chromedp.KeyEvent(question()),
		chromedp.KeyEvent(kb.Enter),
		chromedp.Poll(`["Done."].includes(document.getElementById("status").textContent) || document.getElementById("status").classList.contains("error")`, nil, chromedp.WithPollingTimeout(7*time.Minute)),
	); err != nil {
		t.Fatal(err)
	}
	if s := eval[string](t, ctx, `document.getElementById("status").textContent`); s != "Done." {
		t.Fatalf("the page says %q", s)
	}
	for _, side := range []string{"base", "guided"} {
		tokens := eval[int](t, ctx, fmt.Sprintf(`document.querySelectorAll("#%s .token").length`, side))
		text := eval[string](t, ctx, fmt.Sprintf(`document.getElementById("%s").textContent`, side))
		titles := eval[int](t, ctx, fmt.Sprintf(`[...document.querySelectorAll("#%s .token")].filter(e => e.title.includes("probability")).length`, side))
		if tokens == 0 || titles != tokens || text == "" {
			t.Errorf("%s: %d tokens, %d with a probability, %q", side, tokens, titles, text)
		}
	}
	if eval[bool](t, ctx, `!document.getElementById("legend").hidden`) {
		if n := eval[int](t, ctx, `document.querySelectorAll("#guided .token[data-value]").length`); n == 0 {
			t.Error("no token has a value")
		}
		if n := eval[int](t, ctx, `document.querySelectorAll("#tree .branch.pruned").length`); n == 0 {
			t.Error("the tree of beams shows nothing that was pruned")
		}
	}
	shot("page.png", "light")
	shot("page-dark.png", "dark")
	// Everything that can be operated has a name.
	if n := eval[int](t, ctx, `[...document.querySelectorAll("input, select, textarea, button")].filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length`); n != 0 {
		t.Errorf("%d controls have no label", n)
	}
	// A narrow screen is not wider than itself.
	if err := chromedp.Run(ctx, chromedp.EmulateViewport(360, 740)); err != nil {
		t.Fatal(err)
	}
	if w := eval[int](t, ctx, `document.documentElement.scrollWidth`); w > 360 {
		t.Errorf("on a screen of 360 points the page is %d wide", w)
	}
	// Colours follow the system's scheme.
	background := `getComputedStyle(document.body).backgroundColor`
	dark := eval[string](t, ctx, background)
	if err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}})); err != nil {
		t.Fatal(err)
	}
	if light := eval[string](t, ctx, background); light == dark {
		t.Errorf("light and dark are %s", light)
	}
}
