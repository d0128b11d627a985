/* Loaded into the programs of a build by conditions.sh: it moves the clock by OFFSET
 * seconds, and lists directories backwards. What calls the kernel itself, such as a
 * static program, is not affected. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	long status = syscall(SYS_clock_gettime, clock, now);
	if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += OFFSET;
	return (int)status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec t;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	now->tv_sec = t.tv_sec;
	now->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *result)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (result)
		*result = t.tv_sec;
	return t.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* listing has the entries of an open directory. */
struct listing {
	DIR *dir;
	struct dirent64 **entries;
	size_t left, length;
	struct listing *next;
};

static struct listing *listings;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* read_all returns the listing of a directory, read at the first call. */
static struct listing *read_all(DIR *dir)
{
	static struct dirent64 *(*next)(DIR *);
	struct listing *l;
	struct dirent64 *entry;
	for (l = listings; l; l = l->next)
		if (l->dir == dir)
			return l;
	if (!next)
		next = (struct dirent64 * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
	if (!(l = calloc(1, sizeof *l)))
		abort();
	l->dir = dir;
	while ((entry = next(dir))) {
		if (!(l->entries = realloc(l->entries, (l->length + 1) * sizeof *l->entries)))
			abort();
		if (!(l->entries[l->length] = malloc(entry->d_reclen)))
			abort();
		memcpy(l->entries[l->length++], entry, entry->d_reclen);
	}
	l->left = l->length;
	l->next = listings;
	listings = l;
	return l;
}

static void forget(DIR *dir)
{
	struct listing **at, *l;
	pthread_mutex_lock(&lock);
	for (at = &listings; (l = *at); at = &l->next) {
		if (l->dir != dir)
			continue;
		*at = l->next;
		while (l->length)
			free(l->entries[--l->length]);
		free(l->entries);
		free(l);
		break;
	}
	pthread_mutex_unlock(&lock);
}

struct dirent64 *readdir64(DIR *dir)
{
	struct listing *l;
	struct dirent64 *entry;
	pthread_mutex_lock(&lock);
	l = read_all(dir);
	entry = l->left ? l->entries[--l->left] : NULL;
	pthread_mutex_unlock(&lock);
	return entry;
}

#if __SIZEOF_LONG__ == 8
/* Both have the same entries there. */
struct dirent *readdir(DIR *dir)
{
	return (struct dirent *)readdir64(dir);
}
#endif

int closedir(DIR *dir)
{
	int (*close)(DIR *) = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
	forget(dir);
	return close(dir);
}

void rewinddir(DIR *dir)
{
	void (*rewind)(DIR *) = (void (*)(DIR *))dlsym(RTLD_NEXT, "rewinddir");
	forget(dir);
	rewind(dir);
}
