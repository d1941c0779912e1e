#pragma once

#include "CCUDATable.h"

// NVRTC 12 and 13. Every function but errorText returns an nvrtcResult, here an int: 0 is success.

#pragma clang assume_nonnull begin

typedef struct apus_nvrtc_program *apus_program;

#define APUS_COMPILER_FUNCTIONS(FUNCTION) \
    FUNCTION(version, "nvrtcVersion", (int *major, int *minor)) \
    FUNCTION(architectureCount, "nvrtcGetNumSupportedArchs", (int *count)) \
    FUNCTION(architectures, "nvrtcGetSupportedArchs", (int *values)) \
    FUNCTION(createProgram, "nvrtcCreateProgram", \
             (apus_program _Nullable *_Nonnull program, const char *source, const char *_Nullable name, int headerCount, \
              const char *_Nullable const *_Nullable headers, const char *_Nullable const *_Nullable includeNames)) \
    FUNCTION(destroyProgram, "nvrtcDestroyProgram", (apus_program _Nullable *_Nonnull program)) \
    FUNCTION(addNameExpression, "nvrtcAddNameExpression", (apus_program program, const char *expression)) \
    FUNCTION(compileProgram, "nvrtcCompileProgram", \
             (apus_program program, int optionCount, const char *_Nullable const *_Nullable options)) \
    FUNCTION(loweredName, "nvrtcGetLoweredName", \
             (apus_program program, const char *expression, const char *_Nullable *_Nonnull name)) \
    FUNCTION(logByteCount, "nvrtcGetProgramLogSize", (apus_program program, size_t *byteCount)) \
    FUNCTION(log, "nvrtcGetProgramLog", (apus_program program, char *text)) \
    FUNCTION(cubinByteCount, "nvrtcGetCUBINSize", (apus_program program, size_t *byteCount)) \
    FUNCTION(cubin, "nvrtcGetCUBIN", (apus_program program, char *bytes))

/// The part of NVRTC's interface that Apus uses.
typedef struct apus_compiler {
    const char *_Nullable (*_Nonnull errorText)(int status);
    APUS_COMPILER_FUNCTIONS(APUS_FIELD)
} apus_compiler;

/// Fills a table from an open libnvrtc; null as ``apus_driver_load``. Free the table with free().
apus_compiler *_Nullable apus_compiler_load(void *library, apus_missing_symbols *missing);

/// The folder that the library behind a table's symbols was loaded from, with a slash at its end; false when the loader cannot say.
_Bool apus_library_folder(void *library, const char *symbol, char *folder, size_t capacity);

#pragma clang assume_nonnull end
