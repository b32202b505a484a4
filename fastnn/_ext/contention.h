/* How long this process's threads have waited for a core, as Linux counts it. */
#ifndef FASTNN_CONTENTION_H
#define FASTNN_CONTENTION_H
#include <stdint.h>
#if defined(__linux__)
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t fastnn_now(void)  /* nanoseconds */
{
    struct timespec t;
    return clock_gettime(CLOCK_MONOTONIC, &t) ? -1 : (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Nanoseconds that all threads together were ready to run but had no core; -1 if the system does not tell.
 * The second number of /proc/self/task/<thread>/schedstat; about 3 us a thread. */
static int64_t fastnn_waited(void)
{
    int64_t sum = -1;
    DIR *threads = opendir("/proc/self/task");
    if (!threads) return -1;
    for (struct dirent *entry; (entry = readdir(threads));) {
        char path[64], text[80], *second;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", entry->d_name);
        const int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        const ssize_t n = read(file, text, sizeof text - 1);
        close(file);
        if (n <= 0) continue;
        text[n] = 0;
        if ((second = strchr(text, ' '))) sum = (sum < 0 ? 0 : sum) + atoll(second + 1);
    }
    closedir(threads);
    return sum;
}
#else
static int64_t fastnn_now(void) { return -1; }
static int64_t fastnn_waited(void) { return -1; }
#endif
#endif
