/* Clocks, and what the server's processes have used. */
#define _GNU_SOURCE
#include "blast.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double seconds_since(uint64_t start_ns)
{
    return (double)(now_ns() - start_ns) / 1e9;
}

/* User and system time of a process's children that have ended: one that ends during a run
 * counts nothing by itself any more, and its parent has what it used. In steps of 10 ms. */
static double ended_children_cpu_s(int pid)
{
    char path[64], text[1024];
    long user, system;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    /* The name, in brackets, may hold anything: count the fields from its end. */
    char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %ld %ld",
                        &user, &system) != 2)
        fail("cannot read the processor time in %s", path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* User and system time of one process, all its threads, to the nanosecond. */
static double process_cpu_s(int pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) {
        if (pid == want.pids[0])
            fail("process %d is gone: the server died", pid);
        return 0;
    }
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9 + ended_children_cpu_s(pid);
}

double server_cpu_s(void)
{
    double sum = 0;
    for (int i = 0; i < want.pid_count; i++)
        sum += process_cpu_s(want.pids[i]);
    return sum;
}

long server_rss_kb(void)
{
    long sum = 0;

    for (int i = 0; i < want.pid_count; i++) {
        char path[64];
        long size, resident;
        snprintf(path, sizeof path, "/proc/%d/statm", want.pids[i]);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%ld %ld", &size, &resident) == 2)
            sum += resident * (sysconf(_SC_PAGESIZE) / 1024);
        fclose(file);
    }
    return sum;
}

double own_cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}
