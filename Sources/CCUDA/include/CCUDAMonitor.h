#pragma once

#include <stdint.h>

#include "CCUDATable.h"

// NVML. Every function but errorText returns an nvmlReturn_t, here an int: 0 is success.

#pragma clang assume_nonnull begin

typedef struct apus_nvml_device *apus_monitored_device;

enum {
    apus_monitor_clock_sm = 1,
    apus_monitor_clock_memory = 2,
    apus_monitor_sensor_gpu = 0,
};

#define APUS_MONITOR_FUNCTIONS(FUNCTION) \
    FUNCTION(initialize, "nvmlInit_v2", (void)) \
    FUNCTION(shutdown, "nvmlShutdown", (void)) \
    FUNCTION(driverVersion, "nvmlSystemGetDriverVersion", (char *text, uint32_t capacity)) \
    FUNCTION(deviceByUUID, "nvmlDeviceGetHandleByUUID", (const char *uuid, apus_monitored_device _Nullable *_Nonnull device)) \
    FUNCTION(power, "nvmlDeviceGetPowerUsage", (apus_monitored_device device, uint32_t *milliwatts)) \
    FUNCTION(powerLimit, "nvmlDeviceGetEnforcedPowerLimit", (apus_monitored_device device, uint32_t *milliwatts)) \
    FUNCTION(energy, "nvmlDeviceGetTotalEnergyConsumption", (apus_monitored_device device, uint64_t *millijoules)) \
    FUNCTION(clock, "nvmlDeviceGetClockInfo", (apus_monitored_device device, uint32_t kind, uint32_t *megahertz)) \
    FUNCTION(temperature, "nvmlDeviceGetTemperature", (apus_monitored_device device, uint32_t sensor, uint32_t *celsius))

/// The part of NVML's interface that Apus uses.
typedef struct apus_monitor {
    const char *_Nullable (*_Nonnull errorText)(int status);
    APUS_MONITOR_FUNCTIONS(APUS_FIELD)
} apus_monitor;

/// Fills a table from an open libnvidia-ml; null as ``apus_driver_load``. Free the table with free().
apus_monitor *_Nullable apus_monitor_load(void *library, apus_missing_symbols *missing);

#pragma clang assume_nonnull end
