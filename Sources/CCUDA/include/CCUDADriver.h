#pragma once

#include <stdint.h>

#include "CCUDATable.h"

// libcuda. Every function returns a CUresult, here an int: 0 is success.

#pragma clang assume_nonnull begin

typedef struct apus_cu_context *apus_context;
typedef struct apus_cu_stream *apus_stream;
typedef struct apus_cu_event *apus_event;
typedef struct apus_cu_module *apus_module;
typedef struct apus_cu_function *apus_function;
typedef struct apus_cu_graph *apus_graph;
typedef struct apus_cu_graph_execution *apus_graph_execution;
typedef struct apus_cu_memory_pool *apus_memory_pool;
typedef uint64_t apus_device_pointer;

/// CUlaunchAttribute: an id, padding to 8 bytes, a value of 64 bytes.
typedef struct apus_launch_attribute {
    uint32_t id;
    uint32_t padding;
    union {
        uint8_t bytes[64];
        int32_t flag;
        struct {
            uint32_t x, y, z;
        } cluster;
    } value;
} apus_launch_attribute;

/// CUlaunchConfig.
typedef struct apus_launch_configuration {
    uint32_t gridX, gridY, gridZ;
    uint32_t blockX, blockY, blockZ;
    uint32_t sharedByteCount;
    apus_stream _Nullable stream;
    apus_launch_attribute *_Nullable attributes;
    uint32_t attributeCount;
} apus_launch_configuration;

/// CUgraphExecUpdateResultInfo.
typedef struct apus_graph_update {
    uint32_t result;
    void *_Nullable errorNode;
    void *_Nullable errorFromNode;
} apus_graph_update;

// Suffixes (_v2) name the ABI that the prototypes here describe: a plain dlsym of the unsuffixed name would give an older one.
#define APUS_DRIVER_FUNCTIONS(FUNCTION) \
    FUNCTION(initialize, "cuInit", (uint32_t flags)) \
    FUNCTION(driverVersion, "cuDriverGetVersion", (int32_t * version)) \
    FUNCTION(errorName, "cuGetErrorName", (int status, const char *_Nullable *_Nonnull name)) \
    FUNCTION(errorText, "cuGetErrorString", (int status, const char *_Nullable *_Nonnull text)) \
    FUNCTION(deviceCount, "cuDeviceGetCount", (int32_t * count)) \
    FUNCTION(device, "cuDeviceGet", (int32_t * device, int32_t ordinal)) \
    FUNCTION(deviceName, "cuDeviceGetName", (char *name, int32_t capacity, int32_t device)) \
    FUNCTION(deviceAttribute, "cuDeviceGetAttribute", (int32_t * value, uint32_t attribute, int32_t device)) \
    FUNCTION(deviceUUID, "cuDeviceGetUuid_v2", (uint8_t * uuid, int32_t device)) \
    FUNCTION(deviceMemory, "cuDeviceTotalMem_v2", (size_t * byteCount, int32_t device)) \
    FUNCTION(deviceMemoryPool, "cuDeviceGetDefaultMemPool", (apus_memory_pool _Nullable *_Nonnull pool, int32_t device)) \
    FUNCTION(retainPrimaryContext, "cuDevicePrimaryCtxRetain", (apus_context _Nullable *_Nonnull context, int32_t device)) \
    FUNCTION(releasePrimaryContext, "cuDevicePrimaryCtxRelease_v2", (int32_t device)) \
    FUNCTION(setCurrentContext, "cuCtxSetCurrent", (apus_context _Nullable context)) \
    FUNCTION(synchronizeContext, "cuCtxSynchronize", (void)) \
    FUNCTION(memoryInformation, "cuMemGetInfo_v2", (size_t * free, size_t * total)) \
    FUNCTION(allocate, "cuMemAlloc_v2", (apus_device_pointer * pointer, size_t byteCount)) \
    FUNCTION(release, "cuMemFree_v2", (apus_device_pointer pointer)) \
    FUNCTION(allocateOrdered, "cuMemAllocAsync", (apus_device_pointer * pointer, size_t byteCount, apus_stream _Nullable stream)) \
    FUNCTION(releaseOrdered, "cuMemFreeAsync", (apus_device_pointer pointer, apus_stream _Nullable stream)) \
    FUNCTION(setPoolAttribute, "cuMemPoolSetAttribute", (apus_memory_pool pool, uint32_t attribute, void *value)) \
    FUNCTION(trimPool, "cuMemPoolTrimTo", (apus_memory_pool pool, size_t byteCount)) \
    FUNCTION(allocateHost, "cuMemHostAlloc", (void *_Nullable *_Nonnull pointer, size_t byteCount, uint32_t flags)) \
    FUNCTION(releaseHost, "cuMemFreeHost", (void *pointer)) \
    FUNCTION(hostDevicePointer, "cuMemHostGetDevicePointer_v2", (apus_device_pointer * pointer, void *host, uint32_t flags)) \
    FUNCTION(copyToDevice, "cuMemcpyHtoDAsync_v2", \
             (apus_device_pointer target, const void *source, size_t byteCount, apus_stream _Nullable stream)) \
    FUNCTION(copyToHost, "cuMemcpyDtoHAsync_v2", \
             (void *target, apus_device_pointer source, size_t byteCount, apus_stream _Nullable stream)) \
    FUNCTION(copyOnDevice, "cuMemcpyDtoDAsync_v2", \
             (apus_device_pointer target, apus_device_pointer source, size_t byteCount, apus_stream _Nullable stream)) \
    FUNCTION(fill8, "cuMemsetD8Async", (apus_device_pointer target, uint8_t value, size_t count, apus_stream _Nullable stream)) \
    FUNCTION(fill32, "cuMemsetD32Async", (apus_device_pointer target, uint32_t value, size_t count, apus_stream _Nullable stream)) \
    FUNCTION(createStream, "cuStreamCreateWithPriority", (apus_stream _Nullable *_Nonnull stream, uint32_t flags, int32_t priority)) \
    FUNCTION(destroyStream, "cuStreamDestroy_v2", (apus_stream stream)) \
    FUNCTION(synchronizeStream, "cuStreamSynchronize", (apus_stream _Nullable stream)) \
    FUNCTION(queryStream, "cuStreamQuery", (apus_stream _Nullable stream)) \
    FUNCTION(waitForEvent, "cuStreamWaitEvent", (apus_stream _Nullable stream, apus_event event, uint32_t flags)) \
    FUNCTION(beginCapture, "cuStreamBeginCapture_v2", (apus_stream stream, uint32_t mode)) \
    FUNCTION(endCapture, "cuStreamEndCapture", (apus_stream stream, apus_graph _Nullable *_Nonnull graph)) \
    FUNCTION(captureStatus, "cuStreamIsCapturing", (apus_stream stream, uint32_t *status)) \
    FUNCTION(createEvent, "cuEventCreate", (apus_event _Nullable *_Nonnull event, uint32_t flags)) \
    FUNCTION(destroyEvent, "cuEventDestroy_v2", (apus_event event)) \
    FUNCTION(recordEvent, "cuEventRecord", (apus_event event, apus_stream _Nullable stream)) \
    FUNCTION(queryEvent, "cuEventQuery", (apus_event event)) \
    FUNCTION(synchronizeEvent, "cuEventSynchronize", (apus_event event)) \
    FUNCTION(elapsedTime, "cuEventElapsedTime", (float *milliseconds, apus_event start, apus_event end)) \
    FUNCTION(loadModule, "cuModuleLoadData", (apus_module _Nullable *_Nonnull module, const void *image)) \
    FUNCTION(unloadModule, "cuModuleUnload", (apus_module module)) \
    FUNCTION(moduleFunction, "cuModuleGetFunction", (apus_function _Nullable *_Nonnull function, apus_module module, const char *name)) \
    FUNCTION(moduleGlobal, "cuModuleGetGlobal_v2", \
             (apus_device_pointer * pointer, size_t * byteCount, apus_module module, const char *name)) \
    FUNCTION(functionAttribute, "cuFuncGetAttribute", (int32_t * value, uint32_t attribute, apus_function function)) \
    FUNCTION(setFunctionAttribute, "cuFuncSetAttribute", (apus_function function, uint32_t attribute, int32_t value)) \
    FUNCTION(occupancyBlocks, "cuOccupancyMaxActiveBlocksPerMultiprocessor", \
             (int32_t * count, apus_function function, int32_t threads, size_t sharedByteCount)) \
    FUNCTION(occupancyClusters, "cuOccupancyMaxActiveClusters", \
             (int32_t * count, apus_function function, const apus_launch_configuration *configuration)) \
    FUNCTION(launch, "cuLaunchKernelEx", \
             (const apus_launch_configuration *configuration, apus_function function, void *_Nullable *_Nullable parameters, \
              void *_Nullable *_Nullable extra)) \
    FUNCTION(instantiateGraph, "cuGraphInstantiateWithFlags", \
             (apus_graph_execution _Nullable *_Nonnull execution, apus_graph graph, uint64_t flags)) \
    FUNCTION(destroyGraph, "cuGraphDestroy", (apus_graph graph)) \
    FUNCTION(destroyGraphExecution, "cuGraphExecDestroy", (apus_graph_execution execution)) \
    FUNCTION(graphNodes, "cuGraphGetNodes", (apus_graph graph, void *_Nullable *_Nullable nodes, size_t *count)) \
    FUNCTION(uploadGraph, "cuGraphUpload", (apus_graph_execution execution, apus_stream _Nullable stream)) \
    FUNCTION(launchGraph, "cuGraphLaunch", (apus_graph_execution execution, apus_stream _Nullable stream)) \
    FUNCTION(updateGraph, "cuGraphExecUpdate_v2", (apus_graph_execution execution, apus_graph graph, apus_graph_update *update)) \
    FUNCTION(encodeTensorMap, "cuTensorMapEncodeTiled", \
             (void *map, uint32_t type, uint32_t rank, void *address, const uint64_t *sizes, const uint64_t *strides, \
              const uint32_t *box, const uint32_t *elementStrides, uint32_t interleave, uint32_t swizzle, uint32_t promotion, \
              uint32_t outOfBounds))

/// The part of libcuda's interface that Apus uses.
typedef struct apus_driver {
    APUS_DRIVER_FUNCTIONS(APUS_FIELD)
} apus_driver;

/// Fills a table from an open libcuda. Null when a required symbol is missing (`missing` then lists them) or memory is out.
/// `version` receives the CUDA version that the driver supports (12040 is 12.4), or 0 when it cannot say. Free the table with free().
apus_driver *_Nullable apus_driver_load(void *library, apus_missing_symbols *missing, int32_t *version);

/// The shape of one launch. A cluster extent of 0 means that no cluster is asked for.
typedef struct apus_launch_shape {
    uint32_t gridX, gridY, gridZ;
    uint32_t blockX, blockY, blockZ;
    uint32_t clusterX, clusterY, clusterZ;
    uint32_t sharedByteCount;
    /// All blocks are resident together, so that the kernel may use grid-wide barriers.
    _Bool cooperative;
    /// The kernel may start before the one ahead of it in the stream has ended; it must wait by griddepcontrol before it reads that one's results.
    _Bool programmatic;
} apus_launch_shape;

enum { apus_maximum_launch_parameters = 256 };

/// Where one parameter of a launch lies among the values.
typedef struct apus_launch_parameter {
    uint32_t offset;
    uint32_t byteCount;
} apus_launch_parameter;

/// Launches a kernel with parameters out of `values`. The driver copies them before this returns.
int apus_driver_launch(const apus_driver *driver, apus_function function, const apus_launch_shape *shape, apus_stream _Nullable stream,
                       void *values, const apus_launch_parameter *parameters, size_t count);

/// How many clusters of this shape the device can hold at once.
int apus_driver_occupancy_clusters(const apus_driver *driver, apus_function function, const apus_launch_shape *shape, int32_t *count);

/// cuTensorMapEncodeTiled into 128 bytes of any alignment. `strides` holds rank - 1 values, in bytes, for dimensions 1 and up.
int apus_driver_encode_tensor_map(const apus_driver *driver, void *map, uint32_t type, uint32_t rank, uint64_t address,
                                  const uint64_t *sizes, const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                                  uint32_t swizzle, uint32_t promotion, uint32_t outOfBounds);

#pragma clang assume_nonnull end
