// How many processors this process may use: what its affinity allows, and no more than its control groups pay for.
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels.h"

static size_t allowed_by_affinity(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return (size_t)CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

// The first line of a small file; false when there is none.
static bool read_line(const char *path, char *line, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    const bool found = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return found;
}

static size_t lesser_quota(size_t count, double quota, double period) {
    if (quota <= 0 || period <= 0) return count;
    const double processors = quota / period;
    if (processors >= (double)count) return count;
    const size_t whole = (size_t)processors;
    return whole < processors ? whole + 1 : whole;
}

enum { PATH_BYTES = 512 };

// Version 2: cpu.max ("quota period" or "max period") of the process's group and of all groups above it.
static size_t limited_by_groups(size_t count) {
    char line[PATH_BYTES], path[2 * PATH_BYTES], group[PATH_BYTES] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::", 3) == 0) snprintf(group, sizeof group, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    }
    if (file) fclose(file);
    for (;;) {
        double quota, period;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        if (read_line(path, line, sizeof line) && sscanf(line, "%lf %lf", &quota, &period) == 2) count = lesser_quota(count, quota, period);
        char *slash = strrchr(group, '/');
        if (!slash) break;
        *slash = 0;
    }
    return count;
}

// Version 1, as a container sees it.
static size_t limited_by_old_groups(size_t count) {
    char line[64];
    double quota, period;
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line) || sscanf(line, "%lf", &quota) != 1) return count;
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line) || sscanf(line, "%lf", &period) != 1) return count;
    return lesser_quota(count, quota, period);
}

size_t apus_processor_count(void) {
    const size_t count = limited_by_old_groups(limited_by_groups(allowed_by_affinity()));
    return count > 0 ? count : 1;
}
