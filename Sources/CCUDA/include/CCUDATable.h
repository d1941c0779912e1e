#pragma once

#include <stddef.h>

// Turns a list of FUNCTION(field, symbol, parameters) into struct fields. No field is null in a table that was loaded.
#define APUS_FIELD(field, symbol, parameters) int (*_Nonnull field) parameters;

/// Symbols that a library lacks, by name; the names are string constants.
typedef struct apus_missing_symbols {
    const char *_Nullable names[96];
    size_t count;
} apus_missing_symbols;
