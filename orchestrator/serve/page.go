package serve

import (
	"embed"
	"mime"
	"net/http"
	"path"
)

// The page at / is three files without a build step: it asks the API as any client does, and keeps nothing.
//
//go:embed page
var pageFiles embed.FS

// page answers for the page's files. Its policy lets it load nothing from elsewhere.
func (s *Server) page(open func(pattern string, f handler)) {
	for address, file := range map[string]string{"/{$}": "index.html", "/page.js": "page.js", "/page.css": "page.css"} {
		open("GET "+address, func(w http.ResponseWriter, _ *http.Request) error {
			data, err := pageFiles.ReadFile("page/" + file)
			if err != nil {
				return err
			}
			h := w.Header()
			h.Set("Content-Type", mime.TypeByExtension(path.Ext(file)))
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			_, err = w.Write(data)
			return err
		})
	}
}
