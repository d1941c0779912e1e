#pragma once

#include <stddef.h>

/// One file of the folder Kernels/, as it was when this binary was built.
typedef struct apus_kernel_file {
    /// Path inside Kernels/, such as "Operators/rms_norm.cu"; null past the end of the table.
    const char *_Nullable path;
    /// The text, which ends in a zero byte.
    const unsigned char *_Nullable text;
} apus_kernel_file;

/// The file at a position of the table; both fields are null past its end.
apus_kernel_file apus_kernel_file_at(size_t index);
