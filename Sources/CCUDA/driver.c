#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "CCUDA.h"
#include "fill.h"

apus_driver *apus_driver_load(void *library, apus_missing_symbols *missing, int32_t *version) {
    *version = 0;
    missing->count = 0;
    apus_driver *table = calloc(1, sizeof *table);
    if (table == NULL) return NULL;
    APUS_DRIVER_FUNCTIONS(APUS_FILL)
    // The version comes first in a message about a driver too old, so it is read even from a table with holes.
    int (*driverVersion)(int32_t *) = table->driverVersion;
    if (driverVersion != NULL && driverVersion(version) != 0) *version = 0;
    if (missing->count > 0) {
        free(table);
        return NULL;
    }
    return table;
}

enum { attributeCooperative = 2, attributeCluster = 4, attributeProgrammatic = 6, attributeLimit = 3 };

static apus_launch_configuration configure(const apus_launch_shape *shape, apus_stream stream, apus_launch_attribute *attributes) {
    uint32_t count = 0;
    memset(attributes, 0, attributeLimit * sizeof *attributes);
    if (shape->clusterX > 0) {
        attributes[count].id = attributeCluster;
        attributes[count].value.cluster.x = shape->clusterX;
        attributes[count].value.cluster.y = shape->clusterY;
        attributes[count].value.cluster.z = shape->clusterZ;
        count += 1;
    }
    if (shape->cooperative) {
        attributes[count].id = attributeCooperative;
        attributes[count].value.flag = 1;
        count += 1;
    }
    if (shape->programmatic) {
        attributes[count].id = attributeProgrammatic;
        attributes[count].value.flag = 1;
        count += 1;
    }
    apus_launch_configuration configuration = {
        .gridX = shape->gridX,
        .gridY = shape->gridY,
        .gridZ = shape->gridZ,
        .blockX = shape->blockX,
        .blockY = shape->blockY,
        .blockZ = shape->blockZ,
        .sharedByteCount = shape->sharedByteCount,
        .stream = stream,
        .attributes = count > 0 ? attributes : NULL,
        .attributeCount = count,
    };
    return configuration;
}

int apus_driver_launch(const apus_driver *driver, apus_function function, const apus_launch_shape *shape, apus_stream stream, void *values,
                       const apus_launch_parameter *parameters, size_t count) {
    if (count > apus_maximum_launch_parameters) return 1;
    void *pointers[apus_maximum_launch_parameters];
    for (size_t index = 0; index < count; index += 1) pointers[index] = (char *)values + parameters[index].offset;
    apus_launch_attribute attributes[attributeLimit];
    apus_launch_configuration configuration = configure(shape, stream, attributes);
    return driver->launch(&configuration, function, pointers, NULL);
}

int apus_driver_occupancy_clusters(const apus_driver *driver, apus_function function, const apus_launch_shape *shape, int32_t *count) {
    apus_launch_attribute attributes[attributeLimit];
    apus_launch_configuration configuration = configure(shape, NULL, attributes);
    return driver->occupancyClusters(count, function, &configuration);
}

int apus_driver_encode_tensor_map(const apus_driver *driver, void *map, uint32_t type, uint32_t rank, uint64_t address,
                                  const uint64_t *sizes, const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                                  uint32_t swizzle, uint32_t promotion, uint32_t outOfBounds) {
    // The driver wants the map on a boundary of 64 bytes, 128 from CUDA 13 on.
    _Alignas(128) uint8_t encoded[128];
    int status = driver->encodeTensorMap(encoded, type, rank, (void *)(uintptr_t)address, sizes, strides, box, elementStrides, 0, swizzle,
                                         promotion, outOfBounds);
    if (status == 0) memcpy(map, encoded, sizeof encoded);
    return status;
}
