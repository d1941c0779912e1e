// The files of the bundled models, as constants of the program.
#ifndef APUS_BUNDLED_MODELS_H
#define APUS_BUNDLED_MODELS_H

#include <stddef.h>

typedef struct {
    const char *model;           // the model's name
    const char *file;            // path within its folder, such as "1_Pooling/config.json"
    const unsigned char *bytes;  // not terminated
    size_t byte_count;
} apus_bundled_file;

extern const size_t apus_bundled_file_count;

// The file at index, or NULL where index is not below the count.
const apus_bundled_file *apus_bundled_file_at(size_t index);

#endif
