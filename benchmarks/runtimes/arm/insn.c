/* A plugin for qemu's user mode: counts the AArch64 instructions a guest executes, by class.
 *
 * Arguments: out=FILE. At every marker (the guest calls getppid, system call 173) one line is appended to FILE, the
 * counts since the marker before it, "total=N simd=N ...", and all counts start again at 0. Counting is of whole
 * translated blocks and of one thread's work: run one inference thread.
 *
 * Debian's qemu-user has no qemu-plugin.h; declared here is what is used of version 1 of that API.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*tb_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*syscall_callback)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_callback);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_callback);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
#define GETPPID 173

EXPORT int qemu_plugin_version = 1;

/* simd holds everything in the SIMD and floating point group, the four after it included; memory any load or store. */
enum { TOTAL, MEMORY, SIMD, FMLA_F32, FMLA_F16, DOT, I8MM, CLASSES };
static const char *const names[CLASSES] = {"total", "memory", "simd", "fmla_f32", "fmla_f16", "dot", "i8mm"};
static uint64_t counts[CLASSES];
static char path[4096];

/* Encodings: Arm Architecture Reference Manual, C4.1. `word` is one instruction. */
static void classify(uint32_t word, uint64_t *found)
{
    uint32_t group = (word >> 25) & 15;

    found[TOTAL]++;
    if ((group & 5) == 4) { /* x1x0: loads and stores */
        found[MEMORY]++;
    } else if ((group & 7) == 7) { /* x111: SIMD and floating point */
        found[SIMD]++;
        if ((word & 0xbfe0fc00) == 0x0e20cc00 || (word & 0xbfc0f400) == 0x0f801000) {
            found[FMLA_F32]++; /* FMLA of 32-bit lanes: by vector, by element */
        } else if ((word & 0xbfe0fc00) == 0x0e400c00 || (word & 0xbfc0f400) == 0x0f001000) {
            found[FMLA_F16]++; /* FMLA of 16-bit lanes: by vector, by element */
        } else if ((word & 0x9fe0fc00) == 0x0e809400 || (word & 0x9fc0f400) == 0x0f80e000) {
            found[DOT]++; /* SDOT and UDOT: by vector, by element */
        } else if ((word & 0xffe0fc00) == 0x4e80a400 || (word & 0xffe0fc00) == 0x6e80a400 ||
                   (word & 0xffe0fc00) == 0x4e80ac00) {
            found[I8MM]++; /* SMMLA, UMMLA, USMMLA */
        }
    }
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    uint64_t found[CLASSES] = {0};
    size_t length = qemu_plugin_tb_n_insns(block);

    (void)id;
    for (size_t i = 0; i < length; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        classify(word, found);
    }
    for (int k = 0; k < CLASSES; k++) {
        if (found[k]) {
            qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counts[k], found[k]);
        }
    }
}

static void system_call(qemu_plugin_id_t id, unsigned int cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                        uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    FILE *file;

    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != GETPPID || !(file = fopen(path, "a"))) {
        return;
    }
    for (int k = 0; k < CLASSES; k++) {
        fprintf(file, "%s=%llu%c", names[k], (unsigned long long)counts[k], k + 1 < CLASSES ? ' ' : '\n');
    }
    fclose(file);
    memset(counts, 0, sizeof counts);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) || strlen(argv[0]) >= sizeof path) {
        fprintf(stderr, "insn.so: expects one argument, out=FILE\n");
        return 1;
    }
    strcpy(path, argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    return 0;
}
