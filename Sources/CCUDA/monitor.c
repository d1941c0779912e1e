#include <dlfcn.h>
#include <stdlib.h>

#include "CCUDA.h"
#include "fill.h"

apus_monitor *apus_monitor_load(void *library, apus_missing_symbols *missing) {
    missing->count = 0;
    apus_monitor *table = calloc(1, sizeof *table);
    if (table == NULL) return NULL;
    APUS_FILL(errorText, "nvmlErrorString", )
    APUS_MONITOR_FUNCTIONS(APUS_FILL)
    if (missing->count > 0) {
        free(table);
        return NULL;
    }
    return table;
}
