/* System calls that fail as a rule of the environment says: preloaded into a real process.
 *
 * FAULTS is "call=ERROR[@pattern][+passed]", several separated by spaces. The pattern is a shell's,
 * of the path; a folder's ends in a slash. Of `write`, `passed` is how many bytes still fit, of other
 * calls how many still work.
 *
 * In the place of an error, CUT and SWAP let the call work, and at it, once, cut the file FAULT_FILE
 * to nothing, or put the file FAULT_NEW in its place: data that changes at a known instant.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))
#define MOST 16

typedef struct {
  char call[24], pattern[256];
  int error; /* negative: a change */
  atomic_long passed;
} Rule;

enum { CUT = -1, SWAP = -2 };

static Rule rules[MOST];
static int count;

static const struct {
  const char *name;
  int error;
} ERRORS[] = {
    {"EACCES", EACCES}, {"EDQUOT", EDQUOT}, {"EINVAL", EINVAL},         {"EIO", EIO},
    {"ENOLCK", ENOLCK}, {"ENOSPC", ENOSPC}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ENOSYS", ENOSYS},
    {"EROFS", EROFS},   {"ESTALE", ESTALE}, {"CUT", CUT},              {"SWAP", SWAP},
};

__attribute__((constructor)) static void read_rules(void) {
  const char *given = getenv("FAULTS");
  char *text = strdup(given ? given : ""), *rest = text, *one;
  while ((one = strsep(&rest, " ")) != NULL && count < MOST) {
    Rule *rule = &rules[count];
    char *passed = strrchr(one, '+'), *pattern, *error;
    if (passed) *passed++ = 0;
    if ((pattern = strchr(one, '@'))) *pattern++ = 0;
    if (!(error = strchr(one, '='))) continue;
    *error++ = 0;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
      if (!strcmp(ERRORS[i].name, error)) rule->error = ERRORS[i].error;
    if (!rule->error) abort();
    snprintf(rule->call, sizeof rule->call, "%s", one);
    snprintf(rule->pattern, sizeof rule->pattern, "%s", pattern ? pattern : "*");
    rule->passed = passed ? atol(passed) : 0;
    count++;
  }
  free(text);
}

/* Put the path of a descriptor into `path`, a folder's with "/" at its end. */
static void path_of(int descriptor, char *path, size_t size) {
  char link[64];
  struct stat about;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, size - 2);
  path[length < 0 ? 0 : length] = 0;
  if (length > 0 && !fstat(descriptor, &about) && S_ISDIR(about.st_mode)) strcat(path, "/");
}

static void change(int how) {
  const char *file = getenv("FAULT_FILE"), *other = getenv("FAULT_NEW");
  int failed = how == CUT ? truncate(file, 0)
                          : REAL(int (*)(const char *, const char *), "rename")(other, file);
  if (failed) abort();
}

/* Return the error that a call on a path is to have, 0 if none; `*size` is what of `size` fits. */
static int fault(const char *call, const char *path, size_t *size) {
  for (int i = 0; i < count; i++) {
    Rule *rule = &rules[i];
    if (strcmp(rule->call, call) || fnmatch(rule->pattern, path, 0)) continue;
    long used = size ? (long)*size : 1, left = atomic_fetch_sub(&rule->passed, used);
    if (rule->error < 0) {
      if (left <= 0 && left > -used) change(rule->error);
      continue;
    }
    if (left <= 0) return rule->error;
    if (size && left < used) *size = (size_t)left;
  }
  return 0;
}

static int fault_of(const char *call, int descriptor, size_t *size) {
  char path[4096];
  int before = errno;
  path_of(descriptor, path, sizeof path);
  errno = before;
  return fault(call, path, size);
}

#define FAIL_WITH(error, result) \
  do {                           \
    int failed_with = (error);   \
    if (failed_with) {           \
      errno = failed_with;       \
      return result;             \
    }                            \
  } while (0)

int fsync(int descriptor) {
  FAIL_WITH(fault_of("fsync", descriptor, NULL), -1);
  return REAL(int (*)(int), "fsync")(descriptor);
}

int flock(int descriptor, int operation) {
  FAIL_WITH(fault_of("flock", descriptor, NULL), -1);
  return REAL(int (*)(int, int), "flock")(descriptor, operation);
}

int posix_fadvise(int descriptor, off_t offset, off_t length, int advice) {
  int number = fault_of("posix_fadvise", descriptor, NULL);
  if (number) return number;
  return REAL(int (*)(int, off_t, off_t, int), "posix_fadvise")(descriptor, offset, length, advice);
}

int posix_fadvise64(int descriptor, off64_t offset, off64_t length, int advice) {
  return posix_fadvise(descriptor, offset, length, advice);
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
  FAIL_WITH(fault_of("write", descriptor, &size), -1);
  return REAL(ssize_t (*)(int, const void *, size_t), "write")(descriptor, bytes, size);
}

ssize_t read(int descriptor, void *bytes, size_t size) {
  FAIL_WITH(fault_of("read", descriptor, NULL), -1);
  return REAL(ssize_t (*)(int, void *, size_t), "read")(descriptor, bytes, size);
}

DIR *opendir(const char *path) {
  DIR *folder = REAL(DIR * (*)(const char *), "opendir")(path);
  int number = folder ? fault_of("opendir", dirfd(folder), NULL) : 0;
  if (number) closedir(folder);
  FAIL_WITH(number, NULL);
  return folder;
}

struct dirent *readdir(DIR *folder) {
  FAIL_WITH(fault_of("readdir", dirfd(folder), NULL), NULL);
  return REAL(struct dirent * (*)(DIR *), "readdir")(folder);
}

struct dirent64 *readdir64(DIR *folder) {
  FAIL_WITH(fault_of("readdir", dirfd(folder), NULL), NULL);
  return REAL(struct dirent64 * (*)(DIR *), "readdir64")(folder);
}

int rename(const char *from, const char *to) {
  FAIL_WITH(fault("rename", to, NULL), -1);
  return REAL(int (*)(const char *, const char *), "rename")(from, to);
}

int mkdir(const char *path, mode_t mode) {
  FAIL_WITH(fault("mkdir", path, NULL), -1);
  return REAL(int (*)(const char *, mode_t), "mkdir")(path, mode);
}
