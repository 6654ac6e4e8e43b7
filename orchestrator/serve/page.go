package serve

import (
	"embed"
	"mime"
	"net/http"
	"path"
)

// The page at / is a few files without a build step: it asks the API as any client does, and keeps nothing.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load nothing from elsewhere.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page answers for the page's files.
func (s *Server) page(open func(pattern string, f handler)) {
	files, err := pageFiles.ReadDir("page")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, f := range files {
		address := "/" + f.Name()
		if f.Name() == "index.html" {
			address = "/{$}"
		}
		open("GET "+address, func(w http.ResponseWriter, _ *http.Request) error {
			data, err := pageFiles.ReadFile("page/" + f.Name())
			if err != nil {
				return err
			}
			h := w.Header()
			h.Set("Content-Type", mime.TypeByExtension(path.Ext(f.Name())))
			h.Set("Content-Security-Policy", pagePolicy)
			_, err = w.Write(data)
			return err
		})
	}
}
