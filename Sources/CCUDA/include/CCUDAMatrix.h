#pragma once

#include <stdint.h>

#include "CCUDATable.h"

// cuBLASLt 12 and 13. Every function returns a cublasStatus_t, here an int: 0 is success.

#pragma clang assume_nonnull begin

typedef struct apus_lt_handle *apus_matrix_library;
typedef struct apus_lt_description *apus_matrix_operation;
typedef struct apus_lt_layout *apus_matrix_layout;
typedef struct apus_lt_preference *apus_matrix_preference;

/// cublasLtMatmulAlgo_t.
typedef struct apus_matrix_algorithm {
    uint64_t data[8];
} apus_matrix_algorithm;

/// cublasLtMatmulHeuristicResult_t.
typedef struct apus_matrix_choice {
    apus_matrix_algorithm algorithm;
    size_t workspaceByteCount;
    int32_t status;
    float waveCount;
    int32_t reserved[4];
} apus_matrix_choice;

// Data types (cudaDataType_t), compute types (cublasComputeType_t) and attribute numbers of the calls below.
enum {
    apus_matrix_type_fp32 = 0,
    apus_matrix_type_fp16 = 2,
    apus_matrix_type_bf16 = 14,
    apus_matrix_type_e4m3 = 28,
    apus_matrix_type_e5m2 = 29,

    apus_matrix_compute_fp32 = 68,

    apus_matrix_operation_transpose_a = 3,
    apus_matrix_operation_transpose_b = 4,
    apus_matrix_operation_a_scale = 17,
    apus_matrix_operation_b_scale = 18,
    apus_matrix_operation_d_scale = 20,
    apus_matrix_operation_fast_accumulation = 25,

    apus_matrix_preference_workspace = 1,
};

#define APUS_MATRIX_FUNCTIONS(FUNCTION) \
    FUNCTION(create, "cublasLtCreate", (apus_matrix_library _Nullable *_Nonnull handle)) \
    FUNCTION(destroy, "cublasLtDestroy", (apus_matrix_library handle)) \
    FUNCTION(createOperation, "cublasLtMatmulDescCreate", \
             (apus_matrix_operation _Nullable *_Nonnull operation, uint32_t computeType, uint32_t scaleType)) \
    FUNCTION(destroyOperation, "cublasLtMatmulDescDestroy", (apus_matrix_operation operation)) \
    FUNCTION(setOperation, "cublasLtMatmulDescSetAttribute", \
             (apus_matrix_operation operation, uint32_t attribute, const void *value, size_t byteCount)) \
    FUNCTION(createLayout, "cublasLtMatrixLayoutCreate", \
             (apus_matrix_layout _Nullable *_Nonnull layout, uint32_t type, uint64_t rows, uint64_t columns, int64_t leadingDimension)) \
    FUNCTION(destroyLayout, "cublasLtMatrixLayoutDestroy", (apus_matrix_layout layout)) \
    FUNCTION(createPreference, "cublasLtMatmulPreferenceCreate", (apus_matrix_preference _Nullable *_Nonnull preference)) \
    FUNCTION(destroyPreference, "cublasLtMatmulPreferenceDestroy", (apus_matrix_preference preference)) \
    FUNCTION(setPreference, "cublasLtMatmulPreferenceSetAttribute", \
             (apus_matrix_preference preference, uint32_t attribute, const void *value, size_t byteCount)) \
    FUNCTION(choose, "cublasLtMatmulAlgoGetHeuristic", \
             (apus_matrix_library handle, apus_matrix_operation operation, apus_matrix_layout a, apus_matrix_layout b, \
              apus_matrix_layout c, apus_matrix_layout d, apus_matrix_preference preference, int capacity, \
              apus_matrix_choice *choices, int *count)) \
    FUNCTION(multiply, "cublasLtMatmul", \
             (apus_matrix_library handle, apus_matrix_operation operation, const void *alpha, uint64_t a, apus_matrix_layout layoutA, \
              uint64_t b, apus_matrix_layout layoutB, const void *beta, uint64_t c, apus_matrix_layout layoutC, uint64_t d, \
              apus_matrix_layout layoutD, const apus_matrix_algorithm *algorithm, uint64_t workspace, size_t workspaceByteCount, \
              struct apus_cu_stream *_Nullable stream))

/// The part of cuBLASLt's interface that Apus uses. Device pointers are declared as 64-bit integers, which the ABI passes alike.
typedef struct apus_matrix {
    size_t (*_Nonnull version)(void);
    const char *_Nullable (*_Nonnull statusName)(int status);
    APUS_MATRIX_FUNCTIONS(APUS_FIELD)
} apus_matrix;

/// Fills a table from an open libcublasLt; null as ``apus_driver_load``. Free the table with free().
apus_matrix *_Nullable apus_matrix_load(void *library, apus_missing_symbols *missing);

#pragma clang assume_nonnull end
