// A libcuda of our own for tests: GPU memory is host memory, kernels do nothing, and statuses are chosen when it is compiled.
//
// FAKE_VERSION   what cuDriverGetVersion tells (12040)        FAKE_INIT      status of cuInit (0)
// FAKE_DEVICES   number of GPUs (1)                           FAKE_MAJOR, FAKE_MINOR  compute capability (9.0)
// FAKE_MEMORY    bytes of one GPU (1 MiB)                     FAKE_LAUNCH    status of a launch (0)
// FAKE_THREADS   most threads of a block of a kernel (384)    FAKE_STATIC    bytes of shared memory that it declares itself (1,024)
// FAKE_FAULT     status of every call after a launch (0)      FAKE_NO_CLUSTERS  leaves cuOccupancyMaxActiveClusters out
// FAKE_SIZES     the words of the variable apus_decode_sizes (none); then the kernel apus_decode has statuses of its own,
//                FAKE_DECODE_LAUNCH (0) and FAKE_DECODE_FAULT (0), and hands over FAKE_DECODE_TOKENS (0) tokens at most: 0, 1 and on
// FAKE_LOOKUP    the words of the variable apus_decode_lookup, of the form that guesses (none)
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAKE_VERSION
#define FAKE_VERSION 12040
#endif
#ifndef FAKE_INIT
#define FAKE_INIT 0
#endif
#ifndef FAKE_DEVICES
#define FAKE_DEVICES 1
#endif
#ifndef FAKE_MAJOR
#define FAKE_MAJOR 9
#endif
#ifndef FAKE_MINOR
#define FAKE_MINOR 0
#endif
#ifndef FAKE_MEMORY
#define FAKE_MEMORY (1 << 20)
#endif
#ifndef FAKE_LAUNCH
#define FAKE_LAUNCH 0
#endif
#ifndef FAKE_FAULT
#define FAKE_FAULT 0
#endif
#ifndef FAKE_THREADS
#define FAKE_THREADS 384
#endif
#ifndef FAKE_STATIC
#define FAKE_STATIC 1024
#endif
#ifndef FAKE_DECODE_LAUNCH
#define FAKE_DECODE_LAUNCH 0
#endif
#ifndef FAKE_DECODE_TOKENS
#define FAKE_DECODE_TOKENS 0
#endif
#ifndef FAKE_DECODE_FAULT
#define FAKE_DECODE_FAULT 0
#endif

typedef uint64_t pointer;
typedef struct {
    uint32_t grid[3], block[3], shared;
    void *stream;
    void *attributes;
    uint32_t attributeCount;
} configuration;

static int sticky = 0;
static int capturing = 0;
static int dynamicShared = 48 * 1024;
static char object[8];
static char decodeKernel[8];
#ifdef FAKE_SIZES
static uint32_t decodeSizes[] = {FAKE_SIZES};
#endif
#ifdef FAKE_LOOKUP
static uint32_t decodeLookup[] = {FAKE_LOOKUP};
#endif

static int state(void) { return sticky; }

int cuInit(unsigned flags) { return flags == 0 ? FAKE_INIT : 1; }
int cuDriverGetVersion(int *version) {
    *version = FAKE_VERSION;
    return 0;
}
int cuGetErrorName(int status, const char **name) {
    switch (status) {
    case 2: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return 0;
    case 100: *name = "CUDA_ERROR_NO_DEVICE"; return 0;
    case 700: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; return 0;
    case 701: *name = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; return 0;
    }
    return 1;
}
int cuGetErrorString(int status, const char **text) {
    if (status != 700) return 1;
    *text = "an illegal memory access was encountered";
    return 0;
}
int cuDeviceGetCount(int *count) {
    *count = FAKE_DEVICES;
    return 0;
}
int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < FAKE_DEVICES ? 0 : 101;
}
int cuDeviceGetName(char *name, int capacity, int device) {
    (void)device;
    strncpy(name, "Fake H200", (size_t)capacity);
    return 0;
}
int cuDeviceGetUuid_v2(uint8_t *uuid, int device) {
    for (int i = 0; i < 16; i += 1) uuid[i] = (uint8_t)(i * 16 + device);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *count, int device) {
    (void)device;
    *count = FAKE_MEMORY;
    return 0;
}
int cuDeviceGetAttribute(int *value, unsigned attribute, int device) {
    (void)device;
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;
    case 6: case 7: *value = 65535; break;
    case 13: *value = 1980000; break;
    case 16: *value = 132; break;
    case 36: *value = 3201000; break;
    case 37: *value = 6144; break;
    case 38: *value = 60 << 20; break;
    case 39: *value = 2048; break;
    case 75: *value = FAKE_MAJOR; break;
    case 76: *value = FAKE_MINOR; break;
    case 81: *value = 228 << 10; break;
    case 82: *value = 65536; break;
    case 95: case 115: *value = 1; break;
    case 97: *value = 227 << 10; break;
    case 120: *value = FAKE_MAJOR >= 9; break;
    default: return 1;
    }
    return 0;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) {
    (void)device;
    *pool = object;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    *context = object;
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return device - device; }
int cuCtxSetCurrent(void *context) { return context == object ? 0 : 201; }
int cuCtxSynchronize(void) { return state(); }

// ---- memory --------------------------------------------------------------------------------------------------------

static size_t used = 0;
struct block { size_t size; char padding[248]; };

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *free = FAKE_MEMORY - used;
    *total = FAKE_MEMORY;
    return state();
}
int cuMemAlloc_v2(pointer *address, size_t count) {
    if (state()) return state();
    if (count == 0) return 1;
    if (count > FAKE_MEMORY - used) return 2;
    struct block *block = aligned_alloc(256, sizeof *block + (count + 255) / 256 * 256);
    if (block == NULL) return 2;
    block->size = count;
    used += count;
    *address = (pointer)(uintptr_t)(block + 1);
    return 0;
}
int cuMemFree_v2(pointer address) {
    struct block *block = (struct block *)(uintptr_t)address - 1;
    used -= block->size;
    free(block);
    return state();
}
// The pool keeps what is freed in stream order: it counts as used until it is allocated again or the pool is trimmed.
static size_t pooled = 0;
int cuMemAllocAsync(pointer *address, size_t count, void *stream) {
    if (stream == NULL) return 400;
    size_t reused = count < pooled ? count : pooled;
    pooled -= reused;
    used -= reused;
    int status = cuMemAlloc_v2(address, count);
    if (status != 0) {
        pooled += reused;
        used += reused;
    }
    return status;
}
int cuMemFreeAsync(pointer address, void *stream) {
    struct block *block = (struct block *)(uintptr_t)address - 1;
    pooled += block->size;
    used += block->size;
    return stream ? cuMemFree_v2(address) : 400;
}
int cuMemPoolSetAttribute(void *pool, unsigned attribute, void *value) { return pool && attribute == 4 && value ? 0 : 1; }
int cuMemPoolTrimTo(void *pool, size_t count) {
    used -= pooled;
    pooled = 0;
    return pool && count == 0 ? 0 : 1;
}
int cuMemHostAlloc(void **address, size_t count, unsigned flags) {
    (void)flags;
    if (count > FAKE_MEMORY) return 2;
    *address = aligned_alloc(256, (count + 255) / 256 * 256);
    return *address ? 0 : 2;
}
int cuMemFreeHost(void *address) {
    free(address);
    return 0;
}
int cuMemHostGetDevicePointer_v2(pointer *address, void *host, unsigned flags) {
    *address = (pointer)(uintptr_t)host;
    return (int)flags;
}
int cuMemcpyHtoDAsync_v2(pointer target, const void *source, size_t count, void *stream) {
    (void)stream;
    if (!state()) memcpy((void *)(uintptr_t)target, source, count);
    return state();
}
int cuMemcpyDtoHAsync_v2(void *target, pointer source, size_t count, void *stream) {
    (void)stream;
    if (!state()) memcpy(target, (void *)(uintptr_t)source, count);
    return state();
}
int cuMemcpyDtoDAsync_v2(pointer target, pointer source, size_t count, void *stream) {
    return cuMemcpyHtoDAsync_v2(target, (void *)(uintptr_t)source, count, stream);
}
int cuMemsetD8Async(pointer target, uint8_t value, size_t count, void *stream) {
    (void)stream;
    memset((void *)(uintptr_t)target, value, count);
    return state();
}
int cuMemsetD32Async(pointer target, uint32_t value, size_t count, void *stream) {
    (void)stream;
    for (size_t i = 0; i < count; i += 1) ((uint32_t *)(uintptr_t)target)[i] = value;
    return state();
}

// ---- streams, events, graphs ------------------------------------------------------------------------------------------

int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
    (void)priority;
    *stream = object;
    return flags == 1 ? state() : 1;
}
int cuStreamDestroy_v2(void *stream) { return stream ? 0 : 400; }
int cuStreamSynchronize(void *stream) { return capturing ? 900 : stream ? state() : 400; }
int cuStreamQuery(void *stream) { return stream ? state() : 400; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return stream && event ? (int)flags : 400; }
int cuStreamBeginCapture_v2(void *stream, unsigned mode) {
    if (capturing) return 401;
    capturing = 1;
    return stream && mode == 1 ? 0 : 1;
}
int cuStreamEndCapture(void *stream, void **graph) {
    (void)stream;
    if (!capturing) return 401;
    capturing = 0;
    *graph = object;
    return 0;
}
int cuStreamIsCapturing(void *stream, unsigned *status) {
    (void)stream;
    *status = (unsigned)capturing;
    return 0;
}
int cuEventCreate(void **event, unsigned flags) {
    (void)flags;
    *event = object;
    return 0;
}
int cuEventDestroy_v2(void *event) { return event ? 0 : 400; }
int cuEventRecord(void *event, void *stream) { return event && stream ? state() : 400; }
int cuEventQuery(void *event) { return event ? 600 : 400; }
int cuEventSynchronize(void *event) { return event ? state() : 400; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    *milliseconds = 1.5f;
    return start && end ? 0 : 400;
}
int cuGraphInstantiateWithFlags(void **execution, void *graph, uint64_t flags) {
    *execution = object;
    return graph && flags == 0 ? 0 : 1;
}
int cuGraphDestroy(void *graph) { return graph ? 0 : 400; }
int cuGraphExecDestroy(void *execution) { return execution ? 0 : 400; }
int cuGraphGetNodes(void *graph, void **nodes, size_t *count) {
    *count = 3;
    return graph && nodes == NULL ? 0 : 1;
}
int cuGraphUpload(void *execution, void *stream) { return execution && stream ? 0 : 400; }
int cuGraphLaunch(void *execution, void *stream) { return execution && stream ? state() : 400; }
int cuGraphExecUpdate_v2(void *execution, void *graph, void *update) { return execution && graph && update ? 910 : 400; }

// ---- kernels: 168 registers, parameters as the image says -------------------------------------------------------------

int cuModuleLoadData(void **module, const void *image) {
    *module = object;
    return memcmp(image, "\177ELF", 4) == 0 ? 0 : 200;
}
int cuModuleUnload(void *module) { return module ? 0 : 400; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = strcmp(name, "apus_decode") == 0 ? decodeKernel : object;
    return module && strcmp(name, "absent") != 0 ? 0 : 500;
}
int cuModuleGetGlobal_v2(pointer *address, size_t *count, void *module, const char *name) {
#ifdef FAKE_SIZES
    if (strcmp(name, "apus_decode_sizes") == 0) {
        *address = (pointer)(uintptr_t)decodeSizes;
        *count = sizeof decodeSizes;
        return module ? 0 : 500;
    }
#endif
#ifdef FAKE_LOOKUP
    if (strcmp(name, "apus_decode_lookup") == 0) {
        *address = (pointer)(uintptr_t)decodeLookup;
        *count = sizeof decodeLookup;
        return module ? 0 : 500;
    }
#endif
    *address = 4096;
    *count = 16;
    return module && strcmp(name, "absent") != 0 ? 0 : 500;
}
int cuFuncGetAttribute(int *value, unsigned attribute, void *function) {
    (void)function;
    switch (attribute) {
    case 0: *value = FAKE_THREADS; break;
    case 1: *value = FAKE_STATIC; break;
    case 3: *value = 0; break;
    case 4: *value = 168; break;
    default: return 1;
    }
    return 0;
}
int cuFuncSetAttribute(void *function, unsigned attribute, int value) {
    (void)function;
    // All kernels are one here: what the largest was allowed.
    if (attribute == 8 && value > dynamicShared) dynamicShared = value;
    return 0;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *function, int threads, size_t shared) {
    (void)function;
    *count = threads > 192 || shared > (100 << 10) ? 1 : 2;
    return 0;
}
#ifndef FAKE_NO_CLUSTERS
int cuOccupancyMaxActiveClusters(int *count, void *function, const configuration *shape) {
    (void)function;
    *count = shape->attributeCount > 0 ? 15 : 0;
    return 0;
}
#endif
int cuLaunchKernelEx(const configuration *shape, void *function, void **parameters, void **extra) {
    if (state()) return state();
    if (FAKE_LAUNCH) return FAKE_LAUNCH;
    if (function == NULL || extra != NULL || shape->stream == NULL) return 1;
    // What a real driver refuses without a word.
    if ((int)shape->shared + FAKE_STATIC > 48 * 1024 && (int)shape->shared > dynamicShared) return 1;
    if (function == decodeKernel) {
        if (FAKE_DECODE_LAUNCH == 0) sticky = FAKE_DECODE_FAULT;
        // Its arguments: where tokens go at byte 88, how many steps at 140.
        uint64_t *handed = *(uint64_t **)((char *)parameters[0] + 88);
        int steps = *(int *)((char *)parameters[0] + 140);
        for (int i = 0; handed != NULL && i < steps && i < FAKE_DECODE_TOKENS; i += 1) handed[i] = (uint64_t)(i + 1) << 32 | (unsigned)i % 32;
        return FAKE_DECODE_LAUNCH;
    }
    sticky = FAKE_FAULT;
    // The kernel: writes its second parameter where the first one points to, if that can be an address and is no map.
    if (!FAKE_FAULT) {
        pointer target = *(pointer *)parameters[0];
        if (target >= 4096) memcpy((void *)(uintptr_t)target, parameters[1], 4);
    }
    return 0;
}
int cuTensorMapEncodeTiled(void *map, unsigned type, unsigned rank, void *address, const uint64_t *sizes, const uint64_t *strides,
                           const uint32_t *box, const uint32_t *steps, unsigned interleave, unsigned swizzle, unsigned promotion, unsigned fill) {
    if ((uintptr_t)map % 128 != 0 || interleave != 0 || fill != 0) return 1;
    for (unsigned i = 0; i < rank; i += 1) {
        if (steps[i] != 1 || box[i] > 256 || sizes[i] == 0) return 1;
    }
    uint64_t words[16] = {type, rank, (uint64_t)(uintptr_t)address, sizes[0], rank > 1 ? strides[0] : 0, box[0], swizzle, promotion};
    memcpy(map, words, sizeof words);
    return 0;
}
