/* Replays a fuzz corpus without a fuzzer: `fuzz_NAME [FILE|DIRECTORY]...` gives the empty input and then each file to the target.
 * Linked by make with every tests/fuzz/fuzz_*.c, so a past finding stays found on any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long count;

static void die(const char *path)
{
    perror(path);
    exit(1);
}

/* The bytes stand in a block of exactly their size, so a sanitizer sees a read past the end. */
static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path);
    if (fseek(f, 0, SEEK_END) != 0)
        die(path);
    long size = ftell(f);
    if (size < 0 || fseek(f, 0, SEEK_SET) != 0)
        die(path);
    uint8_t *data = malloc(size ? (size_t)size : 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        die(path);
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    count++;
}

static void replay_directory(const char *path, DIR *dir)
{
    struct dirent *e;
    char name[4096];

    while ((e = readdir(dir))) {
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name) {
            fprintf(stderr, "%s: path too long\n", e->d_name);
            exit(1);
        }
        replay_file(name);
    }
}

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir) {
            replay_directory(argv[i], dir);
            closedir(dir);
        } else {
            replay_file(argv[i]);
        }
    }
    printf("%lu inputs replayed\n", count);
    return 0;
}
