package hub

import "context"

// Source is where a model comes from: a file, a repository of Hugging Face or an address.
type Source struct {
	Path string // of a file, or ollama:MODEL or lmstudio:PUBLISHER/REPO; with URL, where the download goes
	Repo string // USER/REPO[:QUANT]
	File string // of the repository, instead of a QUANT
	URL  string
}

// String is the source as people gave it.
func (s Source) String() string {
	switch {
	case s.URL != "" && s.Path == "":
		return s.URL
	case s.Repo != "" && s.File != "":
		return s.Repo + " " + s.File
	case s.Repo != "":
		return s.Repo
	}
	return s.Path
}

// Find is the path of the model, which is downloaded first if need be. Models of other programs are
// read where they lie.
func (s Source) Find(ctx context.Context, o Options) (string, error) {
	switch {
	case s.Repo != "":
		return Repo(ctx, s.Repo, s.File, o)
	case s.URL != "":
		return URL(ctx, s.URL, s.Path, o)
	}
	if path, ok, err := local(s.Path); ok {
		return path, err
	}
	return s.Path, nil
}
