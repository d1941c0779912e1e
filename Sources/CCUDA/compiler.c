#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "CCUDA.h"
#include "fill.h"

apus_compiler *apus_compiler_load(void *library, apus_missing_symbols *missing) {
    missing->count = 0;
    apus_compiler *table = calloc(1, sizeof *table);
    if (table == NULL) return NULL;
    APUS_FILL(errorText, "nvrtcGetErrorString", )
    APUS_COMPILER_FUNCTIONS(APUS_FILL)
    if (missing->count > 0) {
        free(table);
        return NULL;
    }
    return table;
}

_Bool apus_library_folder(void *library, const char *symbol, char *folder, size_t capacity) {
    void *address = dlsym(library, symbol);
    Dl_info information;
    if (address == NULL || dladdr(address, &information) == 0 || information.dli_fname == NULL) return 0;
    const char *slash = strrchr(information.dli_fname, '/');
    if (slash == NULL) return 0;
    size_t count = (size_t)(slash - information.dli_fname) + 1;
    if (count >= capacity) return 0;
    memcpy(folder, information.dli_fname, count);
    folder[count] = 0;
    return 1;
}
