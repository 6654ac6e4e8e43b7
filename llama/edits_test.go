package llama_test

func setting(key string, value any) func(*rawFile) {
	return func(f *rawFile) { f.set(key, value) }
}

func tensorDims(name string, dims ...uint64) func(*rawFile) {
	return func(f *rawFile) {
		t := f.tensor(name)
		t.dims = dims
		t.fill()
	}
}
