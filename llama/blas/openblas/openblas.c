#include "openblas.h"

// The C interface of BLAS with 32-bit integers; the numbers are its own
// (https://www.netlib.org/blas/blast-forum/cblas.tgz, cblas.h).
enum { ROW_MAJOR = 101, AS_STORED = 111, TRANSPOSED = 112 };
static void (*sgemm)(int order, int ta, int tb, int m, int n, int k,
                     float alpha, const float *a, int lda, const float *b, int ldb,
                     float beta, float *c, int ldc);
static void (*set_threads)(int);
static char *(*config)(void);

#ifdef _WIN32
int ivo_openblas_load(const char *path) { return 0; }
#else
#include <dlfcn.h>

int ivo_openblas_load(const char *path) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) return 0;
	*(void **)&sgemm = dlsym(lib, "cblas_sgemm");
	*(void **)&set_threads = dlsym(lib, "openblas_set_num_threads");
	*(void **)&config = dlsym(lib, "openblas_get_config");
	if (sgemm && set_threads && config) return 1;
	dlclose(lib);
	return 0;
}
#endif

const char *ivo_openblas_config(void) { return config(); }

void ivo_openblas_threads(int n) { set_threads(n); }

void ivo_openblas_sgemm(int ta, int tb, int m, int n, int k,
                        float alpha, const float *a, int lda, const float *b, int ldb,
                        float beta, float *c, int ldc) {
	sgemm(ROW_MAJOR, ta ? TRANSPOSED : AS_STORED, tb ? TRANSPOSED : AS_STORED, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
