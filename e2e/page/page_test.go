// The page of ivo serve in a headless Chromium: what people see, point at and hear, by keyboard, in light and dark, on
// narrow screens. scripts/e2e.sh says where the server is.
package page

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browse opens the page; the test is skipped where there is no Chromium, or no server.
func browse(t *testing.T) context.Context {
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
	do(t, ctx,
		chromedp.EmulateViewport(1200, 800),
		chromedp.Navigate(url),
		chromedp.Poll(`document.getElementById("method").length > 3 && document.getElementById("status").textContent === ""`, nil),
		chromedp.Evaluate(`window.violations = []; document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI))`, nil),
	)
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// eval is the value of a JavaScript expression.
func eval[T any](t *testing.T, ctx context.Context, js string) (v T) {
	t.Helper()
	if err := chromedp.Run(ctx, chromedp.Evaluate(js, &v)); err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}

// prefer sets what the reader's system prefers.
func prefer(t *testing.T, ctx context.Context, feature, value string) {
	t.Helper()
	do(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: feature, Value: value}}))
}

// question is what is asked, IVO_QUESTION where that is set.
func question() string {
	if q := os.Getenv("IVO_QUESTION"); q != "" {
		return q
	}
	return "i found a lamp in the garden today. it was red."
}

// askBoth asks the question by the keyboard alone, and waits for both answers.
func askBoth(t *testing.T, ctx context.Context) {
	t.Helper()
	do(t, ctx,
		chromedp.SetValue("#tokens", "48", chromedp.ByQuery),
		chromedp.SetValue("#seed", "3", chromedp.ByQuery),
		chromedp.Focus("#message", chromedp.ByQuery),
		chromedp.KeyEvent(question()),
		chromedp.KeyEvent(kb.Enter),
		chromedp.Poll(`/^Done/.test(document.getElementById("status").textContent) || document.getElementById("status").classList.contains("error")`, nil, chromedp.WithPollingTimeout(7*time.Minute)),
	)
	if s := eval[string](t, ctx, `document.getElementById("status").textContent`); !strings.HasPrefix(s, "Done") {
		t.Fatalf("the page says %q", s)
	}
}

// headed says whether the server has a value head.
func headed(t *testing.T, ctx context.Context) bool {
	return eval[bool](t, ctx, `!document.getElementById("legend").hidden`)
}

func TestAnswers(t *testing.T) {
	ctx := browse(t)
	// How many tokens are coloured, and blocks drawn, again and again before the answer is finished.
	do(t, ctx, chromedp.Evaluate(`window.during = { coloured: new Set(), blocks: new Set() };
		new MutationObserver(() => {
			if (document.getElementById("guided").ariaBusy !== "true") return;
			during.coloured.add(document.querySelectorAll("#guided .token[data-value]").length);
			during.blocks.add(document.querySelectorAll("#tree .block").length);
		}).observe(document.body, { childList: true, subtree: true })`, nil))
	askBoth(t, ctx)
	for _, side := range []string{"base", "guided"} {
		tokens := eval[int](t, ctx, fmt.Sprintf(`document.querySelectorAll("#%s .token").length`, side))
		spoken := eval[string](t, ctx, fmt.Sprintf(`[...document.querySelectorAll("#%s .token")].map(e => e.textContent).join("")`, side))
		text := eval[string](t, ctx, fmt.Sprintf(`document.getElementById("%s").textContent`, side))
		if tokens == 0 || text == "" || spoken != text {
			t.Errorf("%s: %d tokens, which say %q, of %q", side, tokens, spoken, text)
		}
	}
	if headed(t, ctx) {
		during := eval[map[string][]int](t, ctx, `({ coloured: [...during.coloured], blocks: [...during.blocks] })`)
		if len(during["coloured"]) < 3 || len(during["blocks"]) < 3 {
			t.Errorf("while the guided answer came there were so many tokens that are coloured, and blocks: %v", during)
		}
		all := eval[int](t, ctx, `document.querySelectorAll("#guided .token").length`)
		if n := eval[int](t, ctx, `document.querySelectorAll("#guided .token[data-value]").length`); n != all {
			t.Errorf("%d of %d tokens have a value", n, all)
		}
		if n := eval[int](t, ctx, `document.querySelectorAll("#tree .branch.pruned").length`); n == 0 {
			t.Error("the tree of beams shows nothing that was pruned")
		}
		if paths, grown := eval[int](t, ctx, `document.querySelectorAll("#tree path").length`), eval[int](t, ctx, `document.querySelectorAll("#tree .block:nth-child(n+3) .branch").length`); paths != grown {
			t.Errorf("%d lines lead to %d candidates that grew from others", paths, grown)
		}
	}
	// A token tells of itself when it is pointed at, and by the slider, which says so too.
	about := `document.getElementById("tip").hidden ? "" : document.getElementById("tip").textContent`
	do(t, ctx, chromedp.Evaluate(`document.querySelectorAll("#guided .token")[1].dispatchEvent(new PointerEvent("pointerover", { bubbles: true }))`, nil))
	pointed := eval[string](t, ctx, about)
	do(t, ctx, chromedp.Evaluate(`document.getElementById("guided").dispatchEvent(new PointerEvent("pointerleave"))`, nil))
	left := eval[string](t, ctx, about)
	do(t, ctx, chromedp.Focus("#guided-token", chromedp.ByQuery), chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowRight))
	if slid := eval[string](t, ctx, about); !strings.Contains(pointed, "probability") || left != "" || slid != pointed || headed(t, ctx) && !strings.HasPrefix(pointed, "value") {
		t.Errorf("the token says %q when it is pointed at, %q after that, %q by the keyboard", pointed, left, slid)
	}
	if heard := eval[string](t, ctx, `document.getElementById("guided-token").getAttribute("aria-valuetext")`); !strings.HasSuffix(heard, ", "+pointed) {
		t.Errorf("the slider says %q, the page %q", heard, pointed)
	}
	do(t, ctx, chromedp.Evaluate(`document.getElementById("runs").open = true; requestAnimationFrame(() => requestAnimationFrame(() => (window.laidOut = true)))`, nil), chromedp.Poll(`window.laidOut`, nil))
	for range 24 {
		do(t, ctx, chromedp.KeyEvent(kb.ArrowRight))
	}
	for scheme, name := range map[string]string{"light": "page.png", "dark": "page-dark.png"} {
		prefer(t, ctx, "prefers-color-scheme", scheme)
		shoot(t, ctx, name)
	}
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	if s := eval[string](t, ctx, about); s != "" {
		t.Errorf("Escape leaves %q", s)
	}
	if v := eval[[]string](t, ctx, `violations`); len(v) > 0 {
		t.Errorf("the page tried what its policy forbids: %v", v)
	}
}

// shoot takes a picture of the whole page into IVO_SHOTS, where that is a folder.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("IVO_SHOTS")
	if dir == "" {
		return
	}
	var png []byte
	do(t, ctx, chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A prompt of the machine's begins a conversation, and a run's report opens where it can do nothing.
func TestMachine(t *testing.T) {
	ctx := browse(t)
	if eval[bool](t, ctx, `document.getElementById("machine").hidden`) {
		t.Skip("the server offers no runs and no prompts")
	}
	do(t, ctx,
		chromedp.Click("#prompts summary", chromedp.ByQuery),
		chromedp.WaitVisible("#prompt-list button", chromedp.ByQuery),
	)
	first := eval[string](t, ctx, `document.querySelector("#prompt-list button").textContent`)
	do(t, ctx, chromedp.Click("#later", chromedp.ByQuery), chromedp.Poll(`document.getElementById("which").textContent.startsWith("21 ")`, nil))
	do(t, ctx, chromedp.Click("#earlier", chromedp.ByQuery), chromedp.Poll(`document.getElementById("which").textContent.startsWith("1 ")`, nil))
	do(t, ctx, chromedp.Focus("#prompt-list button", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	if got, focus := eval[string](t, ctx, `document.getElementById("message").value`), eval[string](t, ctx, `document.activeElement.id`); got != first || focus != "message" {
		t.Errorf("the message is %q, the prompt %q; %q has the focus", got, first, focus)
	}

	do(t, ctx,
		chromedp.Click("#runs summary", chromedp.ByQuery),
		chromedp.WaitVisible("#run-rows button", chromedp.ByQuery),
	)
	row := eval[[]string](t, ctx, `[...document.querySelector("#run-rows tr:has(button)").cells].map(c => c.textContent)`)
	if len(row) != 7 || slices.Contains(row[:4], "") || row[5] == "" {
		t.Errorf("the run's row is %q", row)
	}
	do(t, ctx,
		chromedp.Focus("#run-rows button", chromedp.ByQuery),
		chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible("#report", chromedp.ByQuery),
		chromedp.Poll(`document.getElementById("report-page").srcdoc.length > 1000`, nil),
	)
	if s := eval[string](t, ctx, `document.getElementById("report-page").getAttribute("sandbox")`); s != "" {
		t.Errorf("the report's frame may %q", s)
	}
	if v := eval[[]string](t, ctx, `violations`); len(v) > 0 {
		t.Errorf("the page tried what its policy forbids: %v", v)
	}
	check(t, ctx, "the report")
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	if open, focus := eval[bool](t, ctx, `document.getElementById("report").open`), eval[string](t, ctx, `document.activeElement.ariaLabel`); open || !strings.HasPrefix(focus, "Open the report") {
		t.Errorf("after Escape the report is open: %v, %q has the focus", open, focus)
	}
}

//go:embed contrast.js
var contrast string

// named are the roles that want a name though nothing is done with them.
var named = []string{"Iframe", "IframePresentational", "form", "region", "group", "dialog", "log", "article", "list"}

// check holds what is shown against what those need who do not see well, or not at all.
func check(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	do(t, ctx, chromedp.Poll(`document.getAnimations().length === 0`, nil))
	for _, scheme := range []string{"light", "dark"} {
		prefer(t, ctx, "prefers-color-scheme", scheme)
		for _, weak := range eval[[]string](t, ctx, contrast) {
			t.Errorf("%s, %s: %s", what, scheme, weak)
		}
	}
	// What Chromium tells screen readers: everything that can be operated has a name, and so has what holds things together.
	type value struct {
		Value any `json:"value"`
	}
	var tree struct {
		Nodes []struct {
			Ignored    bool  `json:"ignored"`
			Role       value `json:"role"`
			Name       value `json:"name"`
			Properties []struct {
				Name  string `json:"name"`
				Value value  `json:"value"`
			} `json:"properties"`
		} `json:"nodes"`
	}
	do(t, ctx, chromedp.ActionFunc(func(ctx context.Context) error { // not by cdproto, which does not know all of Chromium's words
		return cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree)
	}))
	operated := 0
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		focusable := false
		for _, p := range n.Properties {
			focusable = focusable || p.Name == "focusable" && p.Value.Value == true
		}
		role, _ := n.Role.Value.(string)
		name, _ := n.Name.Value.(string)
		if focusable && role != "RootWebArea" {
			operated++
		}
		if (focusable && role != "RootWebArea" || slices.Contains(named, role)) && strings.TrimSpace(name) == "" {
			t.Errorf("%s: a %s (focusable: %v) has no name", what, role, focusable)
		}
	}
	if operated < 2 {
		t.Errorf("%s: %d things can be operated", what, operated)
	}
	for _, wrong := range eval[[]string](t, ctx, `(() => {
		const ids = [...document.querySelectorAll("[id]")].map(e => e.id), out = ids.filter((id, i) => ids.indexOf(id) !== i).map(id => "the id " + id + " twice");
		for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for], output[for]"))
			for (const name of ["aria-labelledby", "aria-describedby", "for"])
				for (const id of (e.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) out.push(name + " names " + id + ", which is not there");
		const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter(e => e.checkVisibility()).map(e => Number(e.tagName[1]));
		if (levels[0] !== 1 || levels.some((l, i) => i && l > levels[i - 1] + 1)) out.push("headings " + levels);
		for (const e of document.querySelectorAll("ul, ol")) if ([...e.children].some(c => c.tagName !== "LI")) out.push("a list holds more than items");
		for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) out.push("a tabindex of " + e.tabIndex);
		return out;
	})()`) {
		t.Errorf("%s: %s", what, wrong)
	}
}

// Names, colours, the order of the focus, narrow screens and rest, with everything on the page that there is.
func TestAccessible(t *testing.T) {
	ctx := browse(t)
	check(t, ctx, "the empty page")
	askBoth(t, ctx)
	do(t, ctx, chromedp.Evaluate(`document.querySelectorAll("details").forEach(d => d.open = true)`, nil))
	if eval[bool](t, ctx, `!document.getElementById("prompts").hidden`) {
		do(t, ctx, chromedp.WaitVisible("#prompt-list button", chromedp.ByQuery))
	}
	do(t, ctx, chromedp.Focus("#guided-token", chromedp.ByQuery))
	check(t, ctx, "the page")

	// Tab goes through what can be operated as it stands in the document, and shows where it is.
	order := eval[[]string](t, ctx, `window.tabbable = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
		.filter(e => !e.disabled && e.checkVisibility({ visibilityProperty: true }) && (e.type !== "radio" || e.checked)); tabbable.map((e, i) => i + " " + e.tagName + " " + e.id)`)
	do(t, ctx, chromedp.Focus(".skip", chromedp.ByQuery))
	var walked []string
	for i := range order {
		if i > 0 {
			do(t, ctx, chromedp.KeyEvent(kb.Tab))
		}
		walked = append(walked, eval[string](t, ctx, `(() => { const e = document.activeElement, i = tabbable.indexOf(e), s = getComputedStyle(e), r = e.getBoundingClientRect();
			if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) return e.tagName + " " + e.id + " does not show that it has the focus";
			if (r.bottom < 0 || r.top > innerHeight || r.right < 0 || r.left > innerWidth) return e.tagName + " " + e.id + " has the focus out of sight";
			return i + " " + e.tagName + " " + e.id; })()`))
	}
	if !slices.Equal(order, walked) {
		t.Errorf("Tab goes through\n%s\nthe page has\n%s", strings.Join(walked, "\n"), strings.Join(order, "\n"))
	}

	// A narrow screen is not wider than itself, and what is touched is no smaller than a finger needs.
	do(t, ctx, chromedp.EmulateViewport(360, 740))
	if w := eval[int](t, ctx, `document.documentElement.scrollWidth`); w > 360 {
		t.Errorf("on a screen of 360 points the page is %d wide: %v", w, eval[[]string](t, ctx, `[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > 360 && !e.closest(".tree, .wide, .unseen")).map(e => e.tagName + " " + e.id + " " + e.className)`))
	}
	for _, small := range eval[[]string](t, ctx, `tabbable.filter(e => e.className !== "skip" && e.type !== "radio").map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width < 24 || r.height < 24).map(([e, r]) => e.tagName + " " + e.id + " is " + r.width + " by " + r.height)`) {
		t.Error(small)
	}
	shoot(t, ctx, "page-narrow.png")

	// Nothing moves for those who want rest.
	for motion, want := range map[string]string{"reduce": "none", "no-preference": "grow"} {
		prefer(t, ctx, "prefers-reduced-motion", motion)
		if got := eval[string](t, ctx, `document.querySelector(".branch") ? getComputedStyle(document.querySelector(".branch")).animationName : "`+want+`"`); got != want {
			t.Errorf("motion %s: branches have the animation %s", motion, got)
		}
		if n := eval[int](t, ctx, `[...document.querySelectorAll("*")].filter(e => getComputedStyle(e).transitionDuration !== "0s" || getComputedStyle(e).scrollBehavior === "smooth").length`); motion == "reduce" && n > 0 {
			t.Errorf("%d elements move", n)
		}
	}
	// Colours follow the system's scheme.
	background := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		prefer(t, ctx, "prefers-color-scheme", scheme)
		background[scheme] = eval[string](t, ctx, `getComputedStyle(document.body).backgroundColor`)
	}
	if background["light"] == background["dark"] {
		t.Errorf("light and dark are %s", background["light"])
	}
}
