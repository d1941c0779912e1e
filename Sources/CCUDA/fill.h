#pragma once

// Fills `table->field` from `library`; a symbol that is not there goes into `missing`.
// dlsym returns an object pointer, which POSIX lets us read as a function pointer through memory.
#define APUS_FILL(field, symbol, parameters) \
    *(void **)&table->field = dlsym(library, symbol); \
    if (*(void **)&table->field == NULL && missing->count < sizeof missing->names / sizeof *missing->names) \
        missing->names[missing->count++] = symbol;
