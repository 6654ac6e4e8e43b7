#ifndef IVO_OPENBLAS_H
#define IVO_OPENBLAS_H

// Loads a library; 0 if it is not there or lacks one of the functions.
int ivo_openblas_load(const char *path);

const char *ivo_openblas_config(void);
void ivo_openblas_threads(int n);
void ivo_openblas_sgemm(int ta, int tb, int m, int n, int k,
                        float alpha, const float *a, int lda, const float *b, int ldb,
                        float beta, float *c, int ldc);

#endif
