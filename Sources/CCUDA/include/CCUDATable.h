#pragma once

#include <stddef.h>

// Turns a list of FUNCTION(field, symbol, parameters) into struct fields. A required field is never null in a table that was loaded whole.
#define APUS_REQUIRED_FIELD(field, symbol, parameters) int (*_Nonnull field) parameters;
#define APUS_OPTIONAL_FIELD(field, symbol, parameters) int (*_Nullable field) parameters;

/// Symbols that a library lacks, by name; the names are string constants.
typedef struct apus_missing_symbols {
    const char *_Nullable names[96];
    size_t count;
} apus_missing_symbols;
