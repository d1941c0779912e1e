#include <dlfcn.h>
#include <stdlib.h>

#include "CCUDA.h"
#include "fill.h"

apus_matrix *apus_matrix_load(void *library, apus_missing_symbols *missing) {
    missing->count = 0;
    apus_matrix *table = calloc(1, sizeof *table);
    if (table == NULL) return NULL;
    APUS_FILL(version, "cublasLtGetVersion", )
    APUS_FILL(statusName, "cublasLtGetStatusName", )
    APUS_MATRIX_FUNCTIONS(APUS_FILL)
    if (missing->count > 0) {
        free(table);
        return NULL;
    }
    return table;
}
